output "settings" {
  description = "What the gateway's STORAGES entry is made from; holds no secret."
  value = {
    provider        = "gcs"
    bucket          = google_storage_bucket.this.name
    region          = lower(var.location)
    uploads_prefix  = var.prefixes.uploads
    quarantine      = var.prefixes.quarantine
    max_ttl_seconds = var.max_presign_ttl_seconds
    cors_origins    = sort(var.cors.allowed_origins)
    operations      = sort(var.signer.allow)
    signer = {
      service_account_email         = google_service_account.signer.email
      sweeper_service_account_email = google_service_account.sweeper.email
    }
    encryption = {
      mode = var.encryption.kms_key == null ? "google" : "cmek"
      key  = try(var.encryption.kms_key.name, null)
    }
    headers = {
      upload = { "x-goog-if-generation-match" = "0" }
    }
  }

  # Whoever reads this may sign at once.
  depends_on = [
    google_service_account_iam_member.signs_as_itself,
    google_storage_bucket_iam_member.signer,
  ]
}

output "bucket" {
  description = "Name of the bucket."
  value       = google_storage_bucket.this.name
}

output "signer_email" {
  description = "Service account that the web process runs as, or signs as."
  value       = google_service_account.signer.email
}

output "sweeper_email" {
  description = "Service account that gateway_sweep runs as."
  value       = google_service_account.sweeper.email
}

output "hmac" {
  description = "The signer's HMAC key; null without signer.hmac_key."
  sensitive   = true
  value = var.signer.hmac_key ? {
    access_id = google_storage_hmac_key.signer[0].access_id
    secret    = google_storage_hmac_key.signer[0].secret
  } : null
}
