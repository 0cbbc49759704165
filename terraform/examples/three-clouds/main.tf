module "s3" {
  source = "../../modules/aws-s3"

  name                    = var.aws.name
  cors                    = { allowed_origins = var.app_origins }
  max_presign_ttl_seconds = var.max_presign_ttl_seconds
  signer                  = { trusted_principal_arns = var.aws.web_principal_arns }
  sweeper                 = { trusted_principal_arns = var.aws.sweeper_principal_arns }
}

module "gcs" {
  source = "../../modules/gcp-gcs"

  name                    = var.gcp.name
  project_id              = var.gcp.project_id
  location                = var.gcp.location
  cors                    = { allowed_origins = var.app_origins }
  max_presign_ttl_seconds = var.max_presign_ttl_seconds
}

module "azure" {
  source = "../../modules/azure-blob"

  name                    = var.azure.name
  resource_group_name     = var.azure.resource_group_name
  location                = var.azure.location
  cors                    = { allowed_origins = var.app_origins }
  max_presign_ttl_seconds = var.max_presign_ttl_seconds
}
