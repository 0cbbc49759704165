# terraform output -json storages > storages.json, and GATEWAY_STORAGES_FILE=storages.json
output "storages" {
  description = "STORAGES of the service, by alias."
  value       = { (var.storage_alias) = module.files.settings }

  depends_on = [google_project_service.iamcredentials]
}
