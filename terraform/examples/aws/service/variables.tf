variable "region" {
  description = "Region of all of it."
  type        = string
}

variable "account_id" {
  description = "Account that all of it is in: 12 digits."
  type        = string
}

variable "name" {
  description = "Name of the service, and the start of all other names: 3 to 20 of a-z, 0-9 and -."
  type        = string

  validation {
    # Target groups take 32 characters.
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name is \"${var.name}\"; 3 to 20 of a-z, 0-9 and -, a letter first."
  }
}

variable "bucket" {
  description = "Name of the bucket."
  type        = string
}

variable "host_name" {
  description = "Host that browsers reach the service by; its DNS record points to the output load_balancer."
  type        = string
}

variable "certificate_arn" {
  description = "Certificate of host_name, in this region."
  type        = string
}

variable "image" {
  description = "The service's image, by digest."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image is \"${var.image}\"; with @sha256:, since a tag can be moved to other code."
  }
}

variable "vpc_id" {
  description = "Network of all of it."
  type        = string
}

variable "public_subnet_ids" {
  description = "At least two, for the load balancer."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "At least two, for the tasks and the database; they reach S3, Secrets Manager, the registry and the logs by NAT or endpoints."
  type        = list(string)
}

variable "tasks" {
  description = "How many tasks serve."
  type        = number
  default     = 2
}

variable "database_class" {
  description = "Size of the database."
  type        = string
  default     = "db.t4g.small"
}
