variable "app_origins" {
  description = "Origins of the pages that upload and download."
  type        = list(string)
}

variable "max_presign_ttl_seconds" {
  description = "The longest life of a link, in seconds; GATEWAY[\"MAX_TTL\"] is the same."
  type        = number
  default     = 900
}

variable "aws" {
  description = "Region, bucket, and who may become its signer and its sweeper."
  type = object({
    region                 = string
    name                   = string
    web_principal_arns     = set(string)
    sweeper_principal_arns = set(string)
  })
}

variable "gcp" {
  description = "Project, location and bucket."
  type = object({
    project_id = string
    location   = string
    name       = string
  })
}

variable "azure" {
  description = "Subscription, resource group that is there, region and storage account."
  type = object({
    subscription_id     = string
    resource_group_name = string
    location            = string
    name                = string
  })
}
