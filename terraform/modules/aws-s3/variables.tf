# What would switch a guarantee off is no variable here, or has a bound.

variable "name" {
  description = "Name of the bucket: 3 to 63 of a-z, 0-9 and -. No dots: no wildcard certificate covers a dotted name."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name)) && !can(regex("^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|--x-s3|--table-s3)$", var.name))
    error_message = "name is \"${var.name}\"; 3 to 63 of a-z, 0-9 and -, none of the names that S3 reserves."
  }
}

variable "max_presign_ttl_seconds" {
  description = "The longest life of a link, in seconds, as GATEWAY[\"MAX_TTL\"]: 60 to 43200, for no role session lasts longer. The bucket refuses older signatures."
  type        = number
  default     = 900

  validation {
    condition     = var.max_presign_ttl_seconds >= 60 && var.max_presign_ttl_seconds <= 43200 && floor(var.max_presign_ttl_seconds) == var.max_presign_ttl_seconds
    error_message = "max_presign_ttl_seconds is ${var.max_presign_ttl_seconds}; a whole number from 60 to 43200."
  }
}

variable "prefixes" {
  description = "uploads: what the signer may read and create under. quarantine: for POST forms, until they are verified. Both end in a slash."
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
  description = "What browsers may do from other origins; without allowed_origins, nothing. https origins alone, http for localhost; no wildcard, no DELETE."
  type = object({
    allowed_origins = optional(list(string), [])
    allowed_methods = optional(set(string), ["GET", "HEAD", "PUT", "POST"])
    allowed_headers = optional(set(string), ["content-disposition", "content-md5", "content-type", "if-none-match", "range", "x-amz-checksum-*"])
    expose_headers  = optional(set(string), ["Accept-Ranges", "Content-Disposition", "Content-Range", "ETag", "Location", "x-amz-version-id"])
    max_age_seconds = optional(number, 3600)
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
    condition     = alltrue([for header in var.cors.allowed_headers : can(regex("^[A-Za-z0-9-]+\\*?$", header))]) && alltrue([for header in var.cors.expose_headers : can(regex("^[A-Za-z0-9-]+$", header))])
    error_message = "cors.allowed_headers are ${jsonencode(var.cors.allowed_headers)}, expose_headers ${jsonencode(var.cors.expose_headers)}; names, those allowed also the start of names followed by *."
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

variable "signer" {
  description = "Who may become the role that signs: AWS principals by ARN, AWS services, or an OIDC provider's subjects. allow: upload, download or both. source_cidrs: links work from these networks alone."
  type = object({
    allow                    = optional(set(string), ["download", "upload"])
    trusted_principal_arns   = optional(set(string), [])
    trusted_services         = optional(set(string), [])
    external_id              = optional(string)
    max_session_duration     = optional(number, 3600)
    permissions_boundary_arn = optional(string)
    source_cidrs             = optional(set(string), [])
    oidc = optional(object({
      provider_arn = string
      issuer       = string
      subjects     = set(string)
      audience     = optional(string, "sts.amazonaws.com")
    }))
  })

  validation {
    condition     = length(var.signer.allow) > 0 && length(setsubtract(var.signer.allow, ["download", "upload"])) == 0
    error_message = "signer.allow is ${jsonencode(var.signer.allow)}; download, upload or both: what signs links neither lists nor deletes."
  }
  validation {
    condition     = length(var.signer.trusted_principal_arns) + length(var.signer.trusted_services) > 0 || var.signer.oidc != null
    error_message = "signer trusts nobody; name trusted_principal_arns, trusted_services or oidc."
  }
  validation {
    condition     = alltrue([for arn in var.signer.trusted_principal_arns : can(regex("^arn:[a-z-]+:(iam|sts)::[0-9]{12}:[A-Za-z0-9/_+=,.@-]+$", arn))])
    error_message = "signer.trusted_principal_arns are ${jsonencode(var.signer.trusted_principal_arns)}; whole ARNs of IAM or STS, without a wildcard."
  }
  validation {
    condition     = alltrue([for service in var.signer.trusted_services : can(regex("^[a-z0-9.-]+\\.amazonaws\\.com(\\.cn)?$", service))])
    error_message = "signer.trusted_services are ${jsonencode(var.signer.trusted_services)}; such as ecs-tasks.amazonaws.com."
  }
  validation {
    condition     = var.signer.oidc == null ? true : length(var.signer.oidc.subjects) > 0 && alltrue([for subject in var.signer.oidc.subjects : can(regex("^[^*?]+$", subject))]) && !startswith(var.signer.oidc.issuer, "https:")
    error_message = "signer.oidc is ${jsonencode(var.signer.oidc)}; an issuer without https://, and whole subjects without a wildcard."
  }
  validation {
    condition     = var.signer.max_session_duration >= 3600 && var.signer.max_session_duration <= 43200
    error_message = "signer.max_session_duration is ${var.signer.max_session_duration}; 3600 to 43200."
  }
  validation {
    condition     = var.signer.max_session_duration >= var.max_presign_ttl_seconds
    error_message = "signer.max_session_duration is ${var.signer.max_session_duration}; at least max_presign_ttl_seconds, ${var.max_presign_ttl_seconds}: a link ends with the session that signed it."
  }
  validation {
    condition     = alltrue([for cidr in var.signer.source_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "signer.source_cidrs are ${jsonencode(var.signer.source_cidrs)}; networks, without /0."
  }
  validation {
    condition     = var.signer.oidc == null ? true : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/${replace(var.signer.oidc.issuer, ".", "\\.")}$", var.signer.oidc.provider_arn))
    error_message = "signer.oidc.provider_arn is ${jsonencode(try(var.signer.oidc.provider_arn, null))}; the ARN of the OIDC provider of its issuer."
  }
  validation {
    condition     = var.signer.external_id == null ? true : can(regex("^[A-Za-z0-9_+=,.@:/-]{2,}$", var.signer.external_id)) && length(var.signer.external_id) <= 1224
    error_message = "signer.external_id is ${jsonencode(var.signer.external_id)}; 2 to 1224 letters, digits and _+=,.@:/-."
  }
  validation {
    condition     = var.signer.permissions_boundary_arn == null ? true : can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/[A-Za-z0-9/_+=,.@-]+$", var.signer.permissions_boundary_arn))
    error_message = "signer.permissions_boundary_arn is ${jsonencode(var.signer.permissions_boundary_arn)}; the ARN of a policy."
  }
}

variable "sweeper" {
  description = "Who may become the role that deletes, as for signer; another identity than that of the web process."
  type = object({
    trusted_principal_arns   = optional(set(string), [])
    trusted_services         = optional(set(string), [])
    external_id              = optional(string)
    permissions_boundary_arn = optional(string)
    oidc = optional(object({
      provider_arn = string
      issuer       = string
      subjects     = set(string)
      audience     = optional(string, "sts.amazonaws.com")
    }))
  })

  validation {
    condition     = length(var.sweeper.trusted_principal_arns) + length(var.sweeper.trusted_services) > 0 || var.sweeper.oidc != null
    error_message = "sweeper trusts nobody; name trusted_principal_arns, trusted_services or oidc."
  }
  validation {
    condition     = alltrue([for arn in var.sweeper.trusted_principal_arns : can(regex("^arn:[a-z-]+:(iam|sts)::[0-9]{12}:[A-Za-z0-9/_+=,.@-]+$", arn))])
    error_message = "sweeper.trusted_principal_arns are ${jsonencode(var.sweeper.trusted_principal_arns)}; whole ARNs of IAM or STS, without a wildcard."
  }
  validation {
    condition     = alltrue([for service in var.sweeper.trusted_services : can(regex("^[a-z0-9.-]+\\.amazonaws\\.com(\\.cn)?$", service))])
    error_message = "sweeper.trusted_services are ${jsonencode(var.sweeper.trusted_services)}; such as ecs-tasks.amazonaws.com."
  }
  validation {
    condition     = var.sweeper.oidc == null ? true : length(var.sweeper.oidc.subjects) > 0 && alltrue([for subject in var.sweeper.oidc.subjects : can(regex("^[^*?]+$", subject))]) && !startswith(var.sweeper.oidc.issuer, "https:")
    error_message = "sweeper.oidc is ${jsonencode(var.sweeper.oidc)}; an issuer without https://, and whole subjects without a wildcard."
  }
  validation {
    # Services are left out: two ECS tasks trust the same service and still have a role each.
    condition     = length(setintersection(var.sweeper.trusted_principal_arns, var.signer.trusted_principal_arns)) == 0
    error_message = "sweeper and signer both trust ${jsonencode(setintersection(var.sweeper.trusted_principal_arns, var.signer.trusted_principal_arns))}; who signs must not be able to delete."
  }
  validation {
    condition     = var.sweeper.oidc == null ? true : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/${replace(var.sweeper.oidc.issuer, ".", "\\.")}$", var.sweeper.oidc.provider_arn))
    error_message = "sweeper.oidc.provider_arn is ${jsonencode(try(var.sweeper.oidc.provider_arn, null))}; the ARN of the OIDC provider of its issuer."
  }
  validation {
    condition     = var.sweeper.external_id == null ? true : can(regex("^[A-Za-z0-9_+=,.@:/-]{2,}$", var.sweeper.external_id)) && length(var.sweeper.external_id) <= 1224
    error_message = "sweeper.external_id is ${jsonencode(var.sweeper.external_id)}; 2 to 1224 letters, digits and _+=,.@:/-."
  }
  validation {
    condition     = var.sweeper.permissions_boundary_arn == null ? true : can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/[A-Za-z0-9/_+=,.@-]+$", var.sweeper.permissions_boundary_arn))
    error_message = "sweeper.permissions_boundary_arn is ${jsonencode(var.sweeper.permissions_boundary_arn)}; the ARN of a policy."
  }
}

variable "encryption" {
  description = "mode: sse-s3 or sse-kms. With sse-kms and no kms_key = { arn } the module makes a key, which is rotated."
  type = object({
    mode                    = optional(string, "sse-s3")
    kms_key                 = optional(object({ arn = string }))
    deletion_window_in_days = optional(number, 30)
  })
  default = {}

  validation {
    condition     = contains(["sse-s3", "sse-kms"], var.encryption.mode)
    error_message = "encryption.mode is \"${var.encryption.mode}\"; sse-s3 or sse-kms."
  }
  validation {
    condition     = var.encryption.kms_key == null ? true : var.encryption.mode == "sse-kms" && can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.encryption.kms_key.arn))
    error_message = "encryption.kms_key is ${jsonencode(var.encryption.kms_key)}; the ARN of a key (not of an alias), with mode sse-kms."
  }
  validation {
    condition     = var.encryption.deletion_window_in_days >= 7 && var.encryption.deletion_window_in_days <= 30
    error_message = "encryption.deletion_window_in_days is ${var.encryption.deletion_window_in_days}; 7 to 30."
  }
}

variable "access_log" {
  description = "Bucket (another one, private) and prefix that server access logs go to."
  type = object({
    bucket = string
    prefix = optional(string, "access/")
  })
  default = null

  validation {
    condition     = var.access_log == null ? true : var.access_log.bucket != var.name && can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.access_log.bucket))
    error_message = "access_log.bucket is ${jsonencode(try(var.access_log.bucket, null))}; the name of another bucket than this one, or each log would be logged."
  }
}

variable "data_events" {
  description = "Bucket (its policy lets CloudTrail write) and prefix for the trail of every read and write of an object; what an audit is reconciled with."
  type = object({
    trail_bucket = string
    trail_prefix = optional(string)
    kms_key_arn  = optional(string)
  })
  default = null

  validation {
    condition     = var.data_events == null ? true : var.data_events.trail_bucket != var.name && can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.data_events.trail_bucket))
    error_message = "data_events.trail_bucket is ${jsonencode(try(var.data_events.trail_bucket, null))}; the name of another bucket than this one."
  }
  validation {
    condition     = try(var.data_events.kms_key_arn, null) == null ? true : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.data_events.kms_key_arn))
    error_message = "data_events.kms_key_arn is ${jsonencode(try(var.data_events.kms_key_arn, null))}; the ARN of a key, not of an alias."
  }
}

variable "event_queue" {
  description = "SQS queue (its policy lets S3 send) that hears of every object created under the prefixes."
  type        = object({ arn = string })
  default     = null

  validation {
    condition     = var.event_queue == null ? true : can(regex("^arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", var.event_queue.arn))
    error_message = "event_queue is ${jsonencode(var.event_queue)}; the ARN of a standard SQS queue."
  }
}

variable "replication" {
  description = "Versioned bucket that every upload is copied to; with kms_key_arn, the key there. Deletions are not copied."
  type = object({
    bucket_arn  = string
    kms_key_arn = optional(string)
  })
  default = null

  validation {
    condition     = var.replication == null ? true : (var.encryption.mode == "sse-kms") == (var.replication.kms_key_arn != null)
    error_message = "replication.kms_key_arn is ${jsonencode(var.replication == null ? null : var.replication.kms_key_arn)} with encryption.mode \"${var.encryption.mode}\"; a key for sse-kms, none for sse-s3."
  }
  validation {
    condition     = var.replication == null ? true : can(regex("^arn:[a-z-]+:s3:::[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.replication.bucket_arn)) && !endswith(var.replication.bucket_arn, ":::${var.name}")
    error_message = "replication.bucket_arn is ${jsonencode(try(var.replication.bucket_arn, null))}; the ARN of another bucket."
  }
  validation {
    condition     = try(var.replication.kms_key_arn, null) == null ? true : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.replication.kms_key_arn))
    error_message = "replication.kms_key_arn is ${jsonencode(try(var.replication.kms_key_arn, null))}; the ARN of a key, not of an alias."
  }
}

variable "cloudfront" {
  description = "CloudFront in front of downloads. public_keys: PEM by name, whose private halves sign; aliases and acm_certificate_arn (in us-east-1), since CloudFront's own certificate would allow old TLS."
  type = object({
    public_keys         = map(string)
    aliases             = set(string)
    acm_certificate_arn = string
    price_class         = optional(string, "PriceClass_100")
    web_acl_arn         = optional(string)
  })
  default = null

  validation {
    condition     = var.cloudfront == null ? true : length(var.cloudfront.public_keys) > 0 && alltrue([for pem in values(var.cloudfront.public_keys) : startswith(pem, "-----BEGIN PUBLIC KEY-----")])
    error_message = "cloudfront.public_keys are no PEM public keys; at least one, or anybody could download."
  }
  validation {
    condition     = var.cloudfront == null ? true : length(var.cloudfront.aliases) > 0 && can(regex("^arn:[a-z-]+:acm:us-east-1:[0-9]{12}:certificate/[a-z0-9-]+$", var.cloudfront.acm_certificate_arn))
    error_message = "cloudfront.aliases and acm_certificate_arn: at least one host name, and a certificate of us-east-1."
  }
  validation {
    condition     = var.cloudfront == null ? true : contains(["PriceClass_100", "PriceClass_200", "PriceClass_All"], var.cloudfront.price_class)
    error_message = "cloudfront.price_class: PriceClass_100, PriceClass_200 or PriceClass_All."
  }
  validation {
    # A key that the module made has a policy that does not know the distribution.
    condition     = var.cloudfront == null ? true : var.encryption.mode == "sse-s3" || var.encryption.kms_key != null
    error_message = "cloudfront with sse-kms needs encryption.kms_key: a key whose policy lets the distribution decrypt."
  }
  validation {
    condition     = try(var.cloudfront.web_acl_arn, null) == null ? true : can(regex("^arn:[a-z-]+:wafv2:us-east-1:[0-9]{12}:global/webacl/", var.cloudfront.web_acl_arn))
    error_message = "cloudfront.web_acl_arn is ${jsonencode(try(var.cloudfront.web_acl_arn, null))}; the ARN of a web ACL of scope CLOUDFRONT."
  }
}

variable "force_destroy" {
  description = "Let `terraform destroy` delete a bucket that still holds files, all versions included."
  type        = bool
  default     = false
}

variable "emulator" {
  description = "For emulators alone: leaves out the bucket policy, whose conditions they do not judge. Every plan warns of it."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of everything that has some."
  type        = map(string)
  default     = {}
}
