# What would switch a guarantee off is no variable here, or has a bound.

variable "name" {
  description = "Name of the bucket: 3 to 63 of a-z, 0-9 and -. No dots: they need a verified domain."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name)) && !can(regex("^goog|google", var.name))
    error_message = "name is \"${var.name}\"; 3 to 63 of a-z, 0-9 and -, neither starting with goog nor holding google."
  }
}

variable "project_id" {
  description = "Project of the bucket and of the two service accounts."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is \"${var.project_id}\"; the id, not the number, of a project."
  }
}

variable "location" {
  description = "A region (europe-west1), or for recovery a dual-region (EUR4) or a multi-region (EU)."
  type        = string

  validation {
    condition     = can(regex("^([a-z]+-[a-z]+[0-9]+|EU|US|ASIA|EUR[0-9]|NAM[0-9]|ASIA[0-9])$", var.location))
    error_message = "location is \"${var.location}\"; a region such as europe-west1, or EU, US, ASIA, EUR4, NAM4, ASIA1."
  }
}

variable "max_presign_ttl_seconds" {
  description = "The longest life of a link, in seconds, as GATEWAY[\"MAX_TTL\"]: 60 to 43200, for so long IAM's signatures are good; to 604800 with an HMAC key. Cloud Storage itself enforces no age below 7 days."
  type        = number
  default     = 900

  validation {
    condition     = var.max_presign_ttl_seconds >= 60 && var.max_presign_ttl_seconds <= (var.signer.hmac_key ? 604800 : 43200) && floor(var.max_presign_ttl_seconds) == var.max_presign_ttl_seconds
    error_message = "max_presign_ttl_seconds is ${var.max_presign_ttl_seconds}; a whole number from 60 to ${var.signer.hmac_key ? 604800 : 43200}."
  }
}

variable "prefixes" {
  description = "uploads: what the signer may read and create under. quarantine: the same, emptied by age. Both end in a slash."
  type = object({
    uploads    = optional(string, "uploads/")
    quarantine = optional(string, "staging/")
  })
  default = {}

  validation {
    condition     = alltrue([for prefix in values(var.prefixes) : can(regex("^([A-Za-z0-9_-]+/)+$", prefix))])
    error_message = "prefixes are ${jsonencode(var.prefixes)}; letters, digits, _ and -, each segment followed by a slash, none before."
  }
  validation {
    condition     = !startswith(var.prefixes.uploads, var.prefixes.quarantine) && !startswith(var.prefixes.quarantine, var.prefixes.uploads)
    error_message = "prefixes are ${jsonencode(var.prefixes)}; neither may lie within the other."
  }
}

variable "cors" {
  description = "What browsers may do from other origins; without allowed_origins, nothing. response_headers are both what a page may send and what it may read. https origins alone, http for localhost; no wildcard, no DELETE."
  type = object({
    allowed_origins  = optional(list(string), [])
    allowed_methods  = optional(set(string), ["GET", "HEAD", "PUT", "POST"])
    response_headers = optional(set(string), ["Accept-Ranges", "Content-Disposition", "Content-MD5", "Content-Range", "Content-Type", "ETag", "Location", "Range", "x-goog-content-length-range", "x-goog-generation", "x-goog-hash", "x-goog-if-generation-match", "x-goog-resumable"])
    max_age_seconds  = optional(number, 3600)
  })
  default = {}

  validation {
    condition     = alltrue([for origin in var.cors.allowed_origins : can(regex("^(https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?|http://(localhost|127\\.0\\.0\\.1))(:[0-9]{1,5})?$", origin))])
    error_message = "cors.allowed_origins are ${jsonencode(var.cors.allowed_origins)}; https://host[:port], or http://localhost[:port], without a path or a wildcard."
  }
  validation {
    condition     = length(var.cors.allowed_methods) > 0 && length(setsubtract(var.cors.allowed_methods, ["GET", "HEAD", "PUT", "POST"])) == 0
    error_message = "cors.allowed_methods are ${jsonencode(var.cors.allowed_methods)}; some of GET, HEAD, PUT, POST."
  }
  validation {
    condition     = alltrue([for header in var.cors.response_headers : can(regex("^[A-Za-z0-9-]+$", header))])
    error_message = "cors.response_headers are ${jsonencode(var.cors.response_headers)}; names, without a wildcard."
  }
  validation {
    condition     = var.cors.max_age_seconds >= 0 && var.cors.max_age_seconds <= 86400
    error_message = "cors.max_age_seconds is ${var.cors.max_age_seconds}; 0 to 86400."
  }
}

variable "lifecycle_days" {
  description = "abort_multipart (1 to 7) ends unfinished uploads; expire_quarantine (1 to 30) empties the quarantine; expire_noncurrent (7 to 3650) is how long a deleted or overwritten file can be restored; expire_uploads deletes files by age, 0 is never."
  type = object({
    abort_multipart   = optional(number, 1)
    expire_quarantine = optional(number, 7)
    expire_uploads    = optional(number, 0)
    expire_noncurrent = optional(number, 30)
  })
  default = {}

  validation {
    condition     = alltrue([for days in values(var.lifecycle_days) : floor(days) == days])
    error_message = "lifecycle_days are ${jsonencode(var.lifecycle_days)}; whole numbers."
  }
  validation {
    condition     = var.lifecycle_days.abort_multipart >= 1 && var.lifecycle_days.abort_multipart <= 7
    error_message = "lifecycle_days.abort_multipart is ${var.lifecycle_days.abort_multipart}; 1 to 7."
  }
  validation {
    condition     = var.lifecycle_days.expire_quarantine >= 1 && var.lifecycle_days.expire_quarantine <= 30
    error_message = "lifecycle_days.expire_quarantine is ${var.lifecycle_days.expire_quarantine}; 1 to 30."
  }
  validation {
    condition     = var.lifecycle_days.expire_uploads >= 0
    error_message = "lifecycle_days.expire_uploads is ${var.lifecycle_days.expire_uploads}; 0, which is never, or more."
  }
  validation {
    condition     = var.lifecycle_days.expire_noncurrent >= 7 && var.lifecycle_days.expire_noncurrent <= 3650
    error_message = "lifecycle_days.expire_noncurrent is ${var.lifecycle_days.expire_noncurrent}; 7 to 3650, or nothing could be restored."
  }
}

variable "soft_delete_days" {
  description = "How long whatever was deleted, versions too, can be restored: 7 to 90."
  type        = number
  default     = 7

  validation {
    condition     = var.soft_delete_days >= 7 && var.soft_delete_days <= 90 && floor(var.soft_delete_days) == var.soft_delete_days
    error_message = "soft_delete_days is ${var.soft_delete_days}; a whole number from 7 to 90."
  }
}

variable "signer" {
  description = "account_id of the service account that signs, without a key of its own. sign_blob_members, by names of yours, may sign as it; workload_identity_users (GKE, federation) may run as it. allow: upload, download or both. hmac_key makes a key, whose secret is then in the state."
  type = object({
    allow                   = optional(set(string), ["download", "upload"])
    account_id              = optional(string, "presign-gateway-signer")
    sign_blob_members       = optional(map(string), {})
    workload_identity_users = optional(map(string), {})
    hmac_key                = optional(bool, false)
  })
  default = {}

  validation {
    condition     = length(var.signer.allow) > 0 && length(setsubtract(var.signer.allow, ["download", "upload"])) == 0
    error_message = "signer.allow is ${jsonencode(var.signer.allow)}; download, upload or both: what signs links neither lists nor deletes."
  }
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.signer.account_id))
    error_message = "signer.account_id is \"${var.signer.account_id}\"; 6 to 30 of a-z, 0-9 and -, a letter first."
  }
  validation {
    condition     = alltrue([for member in concat(values(var.signer.sign_blob_members), values(var.signer.workload_identity_users)) : can(regex("^(user|group|serviceAccount|principal|principalSet):[^*]+$", member))])
    error_message = "signer's members are ${jsonencode(concat(values(var.signer.sign_blob_members), values(var.signer.workload_identity_users)))}; user:, group:, serviceAccount:, principal: or principalSet:, and nobody like allUsers."
  }
}

variable "sweeper" {
  description = "account_id of the service account that deletes; workload_identity_users may run as it. Another identity than that of the web process."
  type = object({
    account_id              = optional(string, "presign-gateway-sweeper")
    workload_identity_users = optional(map(string), {})
  })
  default = {}

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.sweeper.account_id)) && var.sweeper.account_id != var.signer.account_id
    error_message = "sweeper.account_id is \"${var.sweeper.account_id}\"; 6 to 30 of a-z, 0-9 and -, a letter first, and not the signer's."
  }
  validation {
    condition     = alltrue([for member in values(var.sweeper.workload_identity_users) : can(regex("^(serviceAccount|principal|principalSet):[^*]+$", member))]) && length(setintersection(values(var.sweeper.workload_identity_users), values(var.signer.workload_identity_users))) == 0
    error_message = "sweeper.workload_identity_users are ${jsonencode(var.sweeper.workload_identity_users)}; serviceAccount:, principal: or principalSet:, and none that may sign."
  }
}

variable "encryption" {
  description = "kms_key = { name } in the bucket's location; null is Google's own. grant_to_storage_service lets Cloud Storage use it. The module makes no key: destroying one makes its files unreadable."
  type = object({
    kms_key                  = optional(object({ name = string }))
    grant_to_storage_service = optional(bool, true)
  })
  default = {}

  validation {
    condition     = var.encryption.kms_key == null ? true : can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.encryption.kms_key.name))
    error_message = "encryption.kms_key is ${jsonencode(var.encryption.kms_key)}; projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}

variable "access_log_bucket" {
  description = "Bucket (another one, private) for usage logs. What an audit is reconciled with are the project's Data Access audit logs, which hold each link's id."
  type        = string
  default     = null

  validation {
    condition     = var.access_log_bucket == null ? true : var.access_log_bucket != var.name && can(regex("^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$", var.access_log_bucket))
    error_message = "access_log_bucket is ${jsonencode(var.access_log_bucket)}; the name of another bucket than this one."
  }
}

variable "event_topic" {
  description = "Pub/Sub topic, id projects/P/topics/T, that hears of every object created under the prefixes."
  type        = object({ id = string })
  default     = null

  validation {
    condition     = var.event_topic == null ? true : can(regex("^projects/[^/]+/topics/[^/]+$", var.event_topic.id))
    error_message = "event_topic is ${jsonencode(var.event_topic)}; projects/P/topics/T."
  }
}

variable "force_destroy" {
  description = "Let `terraform destroy` delete a bucket that still holds files, all versions included."
  type        = bool
  default     = false
}

variable "labels" {
  description = "Labels of the bucket."
  type        = map(string)
  default     = {}
}
