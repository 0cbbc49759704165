# What a bucket is that was given its name, project and location.

mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = {
      email  = "account@acme-prod.iam.gserviceaccount.com"
      member = "serviceAccount:account@acme-prod.iam.gserviceaccount.com"
      name   = "projects/acme-prod/serviceAccounts/account@acme-prod.iam.gserviceaccount.com"
    }
  }
}

variables {
  name       = "acme-files"
  project_id = "acme-prod"
  location   = "europe-west1"
}

run "private_and_restorable" {
  command = plan

  assert {
    condition     = google_storage_bucket.this.public_access_prevention == "enforced" && google_storage_bucket.this.uniform_bucket_level_access
    error_message = "the bucket can be made public"
  }
  assert {
    condition     = google_storage_bucket.this.versioning[0].enabled && google_storage_bucket.this.soft_delete_policy[0].retention_duration_seconds == 604800
    error_message = "nothing could be restored"
  }
  assert {
    condition     = length(google_storage_bucket.this.cors) + length(google_storage_bucket.this.logging) + length(google_storage_hmac_key.signer) + length(google_storage_notification.created) == 0
    error_message = "an option is on that nobody asked for"
  }
}

run "signer_reads_and_creates" {
  command = plan

  assert {
    condition     = toset(google_project_iam_custom_role.signer.permissions) == toset(["storage.multipartUploads.abort", "storage.multipartUploads.create", "storage.multipartUploads.listParts", "storage.objects.create", "storage.objects.get"])
    error_message = "the signer may do something else"
  }
  assert {
    condition     = google_storage_bucket_iam_member.signer.condition[0].expression == "resource.name.startsWith(\"projects/_/buckets/acme-files/objects/staging/\") || resource.name.startsWith(\"projects/_/buckets/acme-files/objects/uploads/\")"
    error_message = "the signer may do it elsewhere"
  }
  assert {
    condition     = tolist(google_project_iam_custom_role.sign_blob.permissions) == tolist(["iam.serviceAccounts.signBlob"])
    error_message = "who signs may do more than sign"
  }
}

run "settings_after_apply" {
  command = apply

  assert {
    condition     = output.settings.signer.service_account_email == "account@acme-prod.iam.gserviceaccount.com" && output.settings.headers.upload["x-goog-if-generation-match"] == "0"
    error_message = "the settings say something else"
  }
}

run "an_hmac_key_lets_links_live_a_week" {
  command = plan

  variables {
    max_presign_ttl_seconds = 604800
    signer                  = { hmac_key = true }
  }

  assert {
    condition     = length(google_storage_hmac_key.signer) == 1
    error_message = "there is no HMAC key"
  }
}
