# terraform output -json storages > storages.json, and GATEWAY_STORAGES_FILE=storages.json
output "storages" {
  description = "STORAGES of the service, by alias."
  value       = { (var.storage_alias) = module.files.settings }
}

output "signer" {
  description = "Identity to run the service as."
  value       = module.files.signer
}

output "sweeper" {
  description = "Identity to run gateway_sweep as."
  value       = module.files.sweeper
}
