output "storages" {
  description = "STORAGES of the service, by alias; the containers have it already."
  value       = { private = module.files.settings }
}

output "service_host" {
  description = "Host of the latest revision, which host_name is bound to."
  value       = azurerm_container_app.web.latest_revision_fqdn
}
