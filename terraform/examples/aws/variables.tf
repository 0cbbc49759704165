variable "region" {
  description = "Region of the bucket."
  type        = string
}

variable "account_id" {
  description = "Account that all of it is in: 12 digits."
  type        = string
}

variable "name" {
  description = "Name of the bucket; -logs and -copy are added for the others."
  type        = string
}

variable "app_origins" {
  description = "Origins of the pages that upload and download."
  type        = list(string)
}

variable "web_principal_arns" {
  description = "Who may become the signer: the role that the service runs as."
  type        = set(string)
}

variable "sweeper_principal_arns" {
  description = "Who may become the sweeper."
  type        = set(string)
}

variable "recovery_region" {
  description = "Region of a copy of every upload; null makes none."
  type        = string
  default     = null
}

variable "storage_alias" {
  description = "Key of the bucket in STORAGES."
  type        = string
  default     = "private"
}
