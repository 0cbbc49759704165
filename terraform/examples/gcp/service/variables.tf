variable "project_id" {
  description = "Project of all of it."
  type        = string
}

variable "region" {
  description = "Region of the service and the bucket."
  type        = string
}

variable "name" {
  description = "Name of the service."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket."
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

variable "cloud_sql_instance" {
  description = "PROJECT:REGION:INSTANCE of a PostgreSQL that is there."
  type        = string
}

variable "secrets" {
  description = "Ids of secrets that are there, for DATABASE_URL and SECRET_KEY."
  type = object({
    DATABASE_URL = string
    SECRET_KEY   = string
  })
}
