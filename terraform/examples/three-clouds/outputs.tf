# terraform output -json storages > storages.json, and GATEWAY_STORAGES_FILE=storages.json
output "storages" {
  description = "STORAGES of the service, by alias."
  value = {
    s3    = module.s3.settings
    gcs   = module.gcs.settings
    azure = module.azure.settings
  }
}
