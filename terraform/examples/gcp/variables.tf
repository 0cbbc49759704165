variable "project_id" {
  description = "Project of the bucket."
  type        = string
}

variable "location" {
  description = "Region, or EU, US, ASIA, EUR4, NAM4, ASIA1 for more than one."
  type        = string
}

variable "name" {
  description = "Name of the bucket."
  type        = string
}

variable "app_origins" {
  description = "Origins of the pages that upload and download."
  type        = list(string)
}

variable "sign_blob_members" {
  description = "Who may sign as the signer, beside what runs as it, by names of yours."
  type        = map(string)
  default     = {}
}

variable "enforce_organization_policies" {
  description = "Refuse plain http and HMAC keys in the whole project, which a bucket cannot; needs roles/orgpolicy.policyAdmin."
  type        = bool
  default     = false
}

variable "storage_alias" {
  description = "Key of the bucket in STORAGES."
  type        = string
  default     = "private"
}
