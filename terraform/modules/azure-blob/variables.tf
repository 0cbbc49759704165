# What would switch a guarantee off is no variable here, or has a bound.

variable "name" {
  description = "Name of the storage account, unique in all of Azure: 3 to 24 of a-z and 0-9."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{3,24}$", var.name))
    error_message = "name is \"${var.name}\"; 3 to 24 of a-z and 0-9."
  }
}

variable "resource_group_name" {
  description = "Resource group that all of it lies in."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9._()-]{1,90}$", var.resource_group_name))
    error_message = "resource_group_name is \"${var.resource_group_name}\"; 1 to 90 letters, digits and ._()-."
  }
}

variable "location" {
  description = "Region, such as westeurope."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "location is \"${var.location}\"; such as westeurope."
  }
}

variable "replication" {
  description = "ZRS keeps copies in three zones; GZRS and RAGZRS add another region, for recovery. LRS, GRS and RAGRS are for regions without zones."
  type        = string
  default     = "ZRS"

  validation {
    condition     = contains(["LRS", "GRS", "RAGRS", "ZRS", "GZRS", "RAGZRS"], var.replication)
    error_message = "replication is \"${var.replication}\"; LRS, GRS, RAGRS, ZRS, GZRS or RAGZRS."
  }
}

variable "containers" {
  description = "uploads: what the signer may read and create in. quarantine: for blocks, until they are verified. Containers, since roles are given on containers."
  type = object({
    uploads    = optional(string, "uploads")
    quarantine = optional(string, "staging")
  })
  default = {}

  validation {
    condition     = alltrue([for name in values(var.containers) : can(regex("^[a-z0-9](-?[a-z0-9]){2,62}$", name))]) && var.containers.uploads != var.containers.quarantine
    error_message = "containers are ${jsonencode(var.containers)}; two names of 3 to 63 of a-z, 0-9 and single -."
  }
}

variable "max_presign_ttl_seconds" {
  description = "The longest life of a link, in seconds, as GATEWAY[\"MAX_TTL\"]: 60 to 604800. The account's SAS policy blocks longer ones."
  type        = number
  default     = 900

  validation {
    condition     = var.max_presign_ttl_seconds >= 60 && var.max_presign_ttl_seconds <= 604800 && floor(var.max_presign_ttl_seconds) == var.max_presign_ttl_seconds
    error_message = "max_presign_ttl_seconds is ${var.max_presign_ttl_seconds}; a whole number from 60 to 604800."
  }
}

variable "clock_skew_seconds" {
  description = "How far links are dated back, for a service whose clock may be ahead of Azure's: 0 to 900. The SAS policy counts from the start, so it allows so much more."
  type        = number
  default     = 0

  validation {
    condition     = var.clock_skew_seconds >= 0 && var.clock_skew_seconds <= 900 && floor(var.clock_skew_seconds) == var.clock_skew_seconds
    error_message = "clock_skew_seconds is ${var.clock_skew_seconds}; a whole number from 0 to 900."
  }
}

variable "cors" {
  description = "What browsers may do from other origins; without allowed_origins, nothing. https origins alone, http for localhost; no wildcard, no DELETE."
  type = object({
    allowed_origins = optional(list(string), [])
    allowed_methods = optional(set(string), ["GET", "HEAD", "PUT"])
    allowed_headers = optional(set(string), ["content-md5", "content-type", "if-none-match", "range", "x-ms-*"])
    expose_headers  = optional(set(string), ["Accept-Ranges", "Content-Disposition", "Content-MD5", "Content-Range", "ETag", "x-ms-content-crc64", "x-ms-request-id", "x-ms-version-id"])
    max_age_seconds = optional(number, 3600)
  })
  default = {}

  validation {
    condition     = alltrue([for origin in var.cors.allowed_origins : can(regex("^(https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?|http://(localhost|127\\.0\\.0\\.1))(:[0-9]{1,5})?$", origin))])
    error_message = "cors.allowed_origins are ${jsonencode(var.cors.allowed_origins)}; https://host[:port], or http://localhost[:port], without a path or a wildcard."
  }
  validation {
    condition     = length(var.cors.allowed_methods) > 0 && length(setsubtract(var.cors.allowed_methods, ["GET", "HEAD", "PUT"])) == 0
    error_message = "cors.allowed_methods are ${jsonencode(var.cors.allowed_methods)}; some of GET, HEAD, PUT."
  }
  validation {
    condition     = alltrue([for header in setunion(var.cors.allowed_headers, var.cors.expose_headers) : can(regex("^[A-Za-z0-9-]+\\*?$", header))])
    error_message = "cors.allowed_headers and expose_headers are ${jsonencode(setunion(var.cors.allowed_headers, var.cors.expose_headers))}; names, or the start of names followed by *."
  }
  validation {
    condition     = var.cors.max_age_seconds >= 0 && var.cors.max_age_seconds <= 86400
    error_message = "cors.max_age_seconds is ${var.cors.max_age_seconds}; 0 to 86400."
  }
}

variable "lifecycle_days" {
  description = "expire_quarantine (1 to 30) empties the quarantine; expire_noncurrent (7 to 3650) is the age, counted from when it was written, at which an earlier version goes; expire_uploads deletes files by age, 0 is never. Azure drops unfinished blocks after 7 days by itself."
  type = object({
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
  description = "How long deleted files, versions and containers can be restored, whatever deleted them: 7 to 365."
  type        = number
  default     = 7

  validation {
    condition     = var.soft_delete_days >= 7 && var.soft_delete_days <= 365 && floor(var.soft_delete_days) == var.soft_delete_days
    error_message = "soft_delete_days is ${var.soft_delete_days}; a whole number from 7 to 365."
  }
}

variable "signer" {
  description = "identity = { principal_id } that is there already; null makes a managed identity. allow: upload, download or both."
  type = object({
    allow    = optional(set(string), ["download", "upload"])
    identity = optional(object({ principal_id = string }))
  })
  default = {}

  validation {
    condition     = length(var.signer.allow) > 0 && length(setsubtract(var.signer.allow, ["download", "upload"])) == 0
    error_message = "signer.allow is ${jsonencode(var.signer.allow)}; download, upload or both: what signs links neither lists nor deletes."
  }
  validation {
    condition     = var.signer.identity == null ? true : can(regex("^[0-9a-f-]{36}$", var.signer.identity.principal_id))
    error_message = "signer.identity is ${jsonencode(var.signer.identity)}; the object id of an identity."
  }
}

variable "sweeper" {
  description = "identity = { principal_id } that is there already, not the signer's; null makes a managed identity."
  type = object({
    identity = optional(object({ principal_id = string }))
  })
  default = {}

  validation {
    condition     = var.sweeper.identity == null ? true : can(regex("^[0-9a-f-]{36}$", var.sweeper.identity.principal_id)) && try(var.sweeper.identity.principal_id != var.signer.identity.principal_id, true)
    error_message = "sweeper.identity is ${jsonencode(var.sweeper.identity)}; the object id of an identity that does not sign."
  }
}

variable "customer_managed_key" {
  description = "key_vault_key_id without a version, so that rotation is followed, and the identity that may use it."
  type = object({
    key_vault_key_id          = string
    user_assigned_identity_id = string
  })
  default = null

  validation {
    condition     = var.customer_managed_key == null ? true : can(regex("^https://[a-z0-9-]+\\.[a-z0-9.-]+/keys/[A-Za-z0-9-]+$", var.customer_managed_key.key_vault_key_id))
    error_message = "customer_managed_key.key_vault_key_id is ${jsonencode(var.customer_managed_key == null ? null : var.customer_managed_key.key_vault_key_id)}; https://VAULT/keys/NAME, without a version."
  }
  validation {
    condition     = var.customer_managed_key == null ? true : can(regex("^/subscriptions/.+/[^/]+$", var.customer_managed_key.user_assigned_identity_id))
    error_message = "customer_managed_key.user_assigned_identity_id is ${jsonencode(try(var.customer_managed_key.user_assigned_identity_id, null))}; the id of a managed identity, /subscriptions/…"
  }
}

variable "network" {
  description = "default_action Deny lets nobody in but ip_rules and subnet_ids; browsers then need a way through, as they talk to the account themselves."
  type = object({
    default_action = optional(string, "Allow")
    ip_rules       = optional(set(string), [])
    subnet_ids     = optional(set(string), [])
    bypass         = optional(set(string), ["AzureServices"])
  })
  default = {}

  validation {
    condition     = contains(["Allow", "Deny"], var.network.default_action)
    error_message = "network.default_action is \"${var.network.default_action}\"; Allow or Deny."
  }
  validation {
    condition     = var.network.default_action == "Deny" || length(var.network.ip_rules) + length(var.network.subnet_ids) == 0
    error_message = "network.ip_rules and subnet_ids mean nothing where default_action is Allow."
  }
  validation {
    # Azure takes no /31 and /32, and no private range.
    condition     = alltrue([for rule in var.network.ip_rules : can(regex("^[0-9.]+(/([1-9]|[12][0-9]|30))?$", rule)) && can(cidrhost(length(split("/", rule)) == 2 ? rule : "${rule}/32", 0))])
    error_message = "network.ip_rules are ${jsonencode(var.network.ip_rules)}; addresses of IPv4, or networks up to /30."
  }
  validation {
    condition     = alltrue([for id in var.network.subnet_ids : can(regex("^/subscriptions/.+/virtualNetworks/[^/]+/subnets/[^/]+$", id))])
    error_message = "network.subnet_ids are ${jsonencode(var.network.subnet_ids)}; ids of subnets, /subscriptions/…"
  }
  validation {
    condition     = length(setsubtract(var.network.bypass, ["AzureServices", "Logging", "Metrics", "None"])) == 0 && (!contains(var.network.bypass, "None") || length(var.network.bypass) == 1)
    error_message = "network.bypass is ${jsonencode(var.network.bypass)}; some of AzureServices, Logging and Metrics, or None alone."
  }
}

variable "diagnostics" {
  description = "Where each read, write and deletion is logged; what an audit is reconciled with. One of log_analytics_workspace_id and storage_account_id (another account)."
  type = object({
    log_analytics_workspace_id = optional(string)
    storage_account_id         = optional(string)
  })
  default = null

  validation {
    condition     = var.diagnostics == null ? true : (var.diagnostics.log_analytics_workspace_id == null) != (var.diagnostics.storage_account_id == null)
    error_message = "diagnostics: exactly one of log_analytics_workspace_id and storage_account_id."
  }
  validation {
    condition     = var.diagnostics == null ? true : alltrue([for id in values(var.diagnostics) : id == null ? true : startswith(id, "/subscriptions/")])
    error_message = "diagnostics are ${jsonencode(var.diagnostics)}; ids, /subscriptions/…"
  }
}

variable "event_queue" {
  description = "Service Bus queue, by id, that hears of every blob created in the containers."
  type        = object({ id = string })
  default     = null

  validation {
    condition     = var.event_queue == null ? true : can(regex("/providers/Microsoft.ServiceBus/namespaces/[^/]+/queues/[^/]+$", var.event_queue.id))
    error_message = "event_queue is ${jsonencode(var.event_queue)}; the id of a Service Bus queue."
  }
}

variable "tags" {
  description = "Tags of everything that has some."
  type        = map(string)
  default     = {}
}
