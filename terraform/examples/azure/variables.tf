variable "subscription_id" {
  description = "Subscription that all of it is in."
  type        = string
}

variable "location" {
  description = "Region, such as westeurope."
  type        = string
}

variable "name" {
  description = "Name of the storage account: 3 to 24 of a-z and 0-9."
  type        = string
}

variable "app_origins" {
  description = "Origins of the pages that upload and download."
  type        = list(string)
}

variable "storage_alias" {
  description = "Key of the container in STORAGES."
  type        = string
  default     = "private"
}
