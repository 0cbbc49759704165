output "storages" {
  description = "STORAGES of the service, by alias; the containers have it already."
  value       = { private = module.files.settings }
}

output "service_url" {
  description = "Where a load balancer sends host_name's requests."
  value       = google_cloud_run_v2_service.web.uri
}
