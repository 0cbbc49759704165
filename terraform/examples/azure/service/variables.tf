variable "subscription_id" {
  description = "Subscription that all of it is in."
  type        = string
}

variable "resource_group_name" {
  description = "Resource group that is there."
  type        = string
}

variable "location" {
  description = "Region, such as westeurope."
  type        = string
}

variable "name" {
  description = "Name of the service."
  type        = string
}

variable "storage_account" {
  description = "Name of the storage account: 3 to 24 of a-z and 0-9."
  type        = string
}

variable "host_name" {
  description = "Host that browsers reach the service by."
  type        = string
}

variable "image" {
  description = "The service's image, by digest."
  type        = string
}

variable "environment_id" {
  description = "Container Apps environment that is there."
  type        = string
}

variable "key_vault" {
  description = "Key vault that is there, and the ids (without version) of its secrets for DATABASE_URL and SECRET_KEY."
  type = object({
    id              = string
    database_url_id = string
    secret_key_id   = string
  })
}
