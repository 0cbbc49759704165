# The bucket: private for good, versioned, and restorable for days after a deletion.

locals {
  seconds_per_day = 86400
  uses_agent      = (var.encryption.kms_key != null && var.encryption.grant_to_storage_service) || var.event_topic != null
}

# What Cloud Storage itself acts as in this project.
data "google_storage_project_service_account" "agent" {
  count = local.uses_agent ? 1 : 0

  project = var.project_id
}

resource "google_kms_crypto_key_iam_member" "agent" {
  count = var.encryption.kms_key != null && var.encryption.grant_to_storage_service ? 1 : 0

  crypto_key_id = var.encryption.kms_key.name
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.agent[0].member
}

resource "google_storage_bucket" "this" {
  name          = var.name
  project       = var.project_id
  location      = var.location
  force_destroy = var.force_destroy
  labels        = var.labels

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = var.soft_delete_days * local.seconds_per_day
  }

  dynamic "encryption" {
    for_each = var.encryption.kms_key == null ? [] : [var.encryption.kms_key.name]

    content {
      default_kms_key_name = encryption.value
    }
  }

  dynamic "cors" {
    for_each = length(var.cors.allowed_origins) > 0 ? [var.cors] : []

    content {
      origin          = cors.value.allowed_origins
      method          = cors.value.allowed_methods
      response_header = cors.value.response_headers
      max_age_seconds = cors.value.max_age_seconds
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }

    condition {
      age = var.lifecycle_days.abort_multipart
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      age            = var.lifecycle_days.expire_quarantine
      matches_prefix = [var.prefixes.quarantine]
      with_state     = "ANY"
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = var.lifecycle_days.expire_noncurrent
      with_state                 = "ARCHIVED"
    }
  }

  # What gateway_doctor put there and could not take away.
  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      age            = 1
      matches_prefix = ["${var.prefixes.uploads}gateway-probe"]
      with_state     = "ANY"
    }
  }

  dynamic "lifecycle_rule" {
    for_each = var.lifecycle_days.expire_uploads > 0 ? [var.lifecycle_days.expire_uploads] : []

    content {
      action {
        type = "Delete"
      }

      condition {
        age            = lifecycle_rule.value
        matches_prefix = [var.prefixes.uploads]
        with_state     = "LIVE"
      }
    }
  }

  dynamic "logging" {
    for_each = var.access_log_bucket == null ? [] : [var.access_log_bucket]

    content {
      log_bucket        = logging.value
      log_object_prefix = var.name
    }
  }

  # A bucket cannot name a key that its agent may not use.
  depends_on = [google_kms_crypto_key_iam_member.agent]
}

resource "google_pubsub_topic_iam_member" "agent" {
  count = var.event_topic == null ? 0 : 1

  topic  = var.event_topic.id
  role   = "roles/pubsub.publisher"
  member = data.google_storage_project_service_account.agent[0].member
}

resource "google_storage_notification" "created" {
  for_each = var.event_topic == null ? {} : var.prefixes

  bucket             = google_storage_bucket.this.name
  topic              = var.event_topic.id
  payload_format     = "JSON_API_V1"
  event_types        = ["OBJECT_FINALIZE"]
  object_name_prefix = each.value

  depends_on = [google_pubsub_topic_iam_member.agent]
}
