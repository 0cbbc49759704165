# Each variable that can be wrong, wrong.

mock_provider "google" {}

variables {
  name       = "acme-files"
  project_id = "acme-prod"
  location   = "europe-west1"
}

run "refuses_a_dotted_name" {
  command = plan

  variables {
    name = "acme.files"
  }

  expect_failures = [var.name]
}

run "refuses_a_name_of_googles" {
  command = plan

  variables {
    name = "google-files"
  }

  expect_failures = [var.name]
}

run "refuses_a_project_number" {
  command = plan

  variables {
    project_id = "123456789"
  }

  expect_failures = [var.project_id]
}

run "refuses_a_location_that_is_none" {
  command = plan

  variables {
    location = "Europe"
  }

  expect_failures = [var.location]
}

run "refuses_a_ttl_above_that_of_signblob" {
  command = plan

  variables {
    max_presign_ttl_seconds = 43201
  }

  expect_failures = [var.max_presign_ttl_seconds]
}

run "refuses_a_ttl_above_a_week" {
  command = plan

  variables {
    max_presign_ttl_seconds = 604801
    signer                  = { hmac_key = true }
  }

  expect_failures = [var.max_presign_ttl_seconds]
}

run "refuses_a_ttl_below_a_minute" {
  command = plan

  variables {
    max_presign_ttl_seconds = 59
  }

  expect_failures = [var.max_presign_ttl_seconds]
}

run "refuses_half_a_second" {
  command = plan

  variables {
    max_presign_ttl_seconds = 900.5
  }

  expect_failures = [var.max_presign_ttl_seconds]
}

run "refuses_cors_for_everybody" {
  command = plan

  variables {
    cors = { allowed_origins = ["*"] }
  }

  expect_failures = [var.cors]
}

run "refuses_cors_over_plain_http" {
  command = plan

  variables {
    cors = { allowed_origins = ["http://app.example.com"] }
  }

  expect_failures = [var.cors]
}

run "refuses_cors_with_a_path" {
  command = plan

  variables {
    cors = { allowed_origins = ["https://app.example.com/"] }
  }

  expect_failures = [var.cors]
}

run "refuses_cors_for_subdomains" {
  command = plan

  variables {
    cors = { allowed_origins = ["https://*.example.com"] }
  }

  expect_failures = [var.cors]
}

run "refuses_cors_that_deletes" {
  command = plan

  variables {
    cors = { allowed_origins = ["https://app.example.com"], allowed_methods = ["DELETE"] }
  }

  expect_failures = [var.cors]
}

run "refuses_a_cors_answer_kept_for_a_week" {
  command = plan

  variables {
    cors = { max_age_seconds = 604800 }
  }

  expect_failures = [var.cors]
}

run "refuses_a_quarantine_that_is_never_emptied" {
  command = plan

  variables {
    lifecycle_days = { expire_quarantine = 0 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_a_quarantine_kept_for_a_year" {
  command = plan

  variables {
    lifecycle_days = { expire_quarantine = 365 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_nothing_to_restore" {
  command = plan

  variables {
    lifecycle_days = { expire_noncurrent = 0 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_six_days_to_restore" {
  command = plan

  variables {
    lifecycle_days = { expire_noncurrent = 6 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_days_below_zero" {
  command = plan

  variables {
    lifecycle_days = { expire_uploads = -1 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_half_days" {
  command = plan

  variables {
    lifecycle_days = { expire_noncurrent = 7.5 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_an_empty_prefix" {
  command = plan

  variables {
    prefixes = { uploads = "" }
  }

  expect_failures = [var.prefixes]
}

run "refuses_a_prefix_from_the_root" {
  command = plan

  variables {
    prefixes = { uploads = "/uploads/" }
  }

  expect_failures = [var.prefixes]
}

run "refuses_a_prefix_without_a_slash" {
  command = plan

  variables {
    prefixes = { uploads = "uploads" }
  }

  expect_failures = [var.prefixes]
}

run "refuses_dots_in_a_prefix" {
  command = plan

  variables {
    prefixes = { uploads = "../uploads/" }
  }

  expect_failures = [var.prefixes]
}

run "refuses_a_quarantine_within_the_uploads" {
  command = plan

  variables {
    prefixes = { quarantine = "uploads/staging/" }
  }

  expect_failures = [var.prefixes]
}

run "refuses_a_wildcard_in_a_prefix" {
  command = plan

  variables {
    prefixes = { uploads = "uploads*/" }
  }

  expect_failures = [var.prefixes]
}

run "refuses_uploads_that_never_end" {
  command = plan

  variables {
    lifecycle_days = { abort_multipart = 0 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_uploads_that_end_after_ten_years" {
  command = plan

  variables {
    lifecycle_days = { abort_multipart = 3650 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_all_headers" {
  command = plan

  variables {
    cors = { response_headers = ["*"] }
  }

  expect_failures = [var.cors]
}

run "refuses_no_soft_delete" {
  command = plan

  variables {
    soft_delete_days = 0
  }

  expect_failures = [var.soft_delete_days]
}

run "refuses_six_days_of_soft_delete" {
  command = plan

  variables {
    soft_delete_days = 6
  }

  expect_failures = [var.soft_delete_days]
}

run "refuses_a_year_of_soft_delete" {
  command = plan

  variables {
    soft_delete_days = 365
  }

  expect_failures = [var.soft_delete_days]
}

run "refuses_a_signer_that_deletes" {
  command = plan

  variables {
    signer = { allow = ["delete"] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_signer_that_lists" {
  command = plan

  variables {
    signer = { allow = ["list"] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_signer_that_may_nothing" {
  command = plan

  variables {
    signer = { allow = [] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_short_account" {
  command = plan

  variables {
    signer = { account_id = "web" }
  }

  expect_failures = [var.signer]
}

run "refuses_signing_for_everybody" {
  command = plan

  variables {
    signer = { sign_blob_members = { all = "allUsers" } }
  }

  expect_failures = [var.signer]
}

run "refuses_signing_for_all_of_google" {
  command = plan

  variables {
    signer = { sign_blob_members = { all = "allAuthenticatedUsers" } }
  }

  expect_failures = [var.signer]
}

run "refuses_everybody_as_the_signer" {
  command = plan

  variables {
    signer = { workload_identity_users = { all = "allUsers" } }
  }

  expect_failures = [var.signer]
}

run "refuses_a_pool_as_the_signer" {
  command = plan

  variables {
    signer = { workload_identity_users = { all = "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/*" } }
  }

  expect_failures = [var.signer]
}

run "refuses_a_sweeper_that_signs" {
  command = plan

  variables {
    sweeper = { account_id = "presign-gateway-signer" }
  }

  expect_failures = [var.sweeper]
}

run "refuses_everybody_as_the_sweeper" {
  command = plan

  variables {
    sweeper = { workload_identity_users = { all = "allUsers" } }
  }

  expect_failures = [var.sweeper]
}

run "refuses_one_workload_as_both" {
  command = plan

  variables {
    signer  = { workload_identity_users = { a = "serviceAccount:p.svc.id.goog[n/a]" } }
    sweeper = { workload_identity_users = { a = "serviceAccount:p.svc.id.goog[n/a]" } }
  }

  expect_failures = [var.sweeper]
}

run "refuses_a_key_that_is_none" {
  command = plan

  variables {
    encryption = { kms_key = { name = "files" } }
  }

  expect_failures = [var.encryption]
}

run "refuses_a_log_of_itself" {
  command = plan

  variables {
    access_log_bucket = "acme-files"
  }

  expect_failures = [var.access_log_bucket]
}

run "refuses_a_topic_that_is_none" {
  command = plan

  variables {
    event_topic = { id = "created" }
  }

  expect_failures = [var.event_topic]
}

run "refuses_a_log_bucket_that_is_none" {
  command = plan

  variables {
    access_log_bucket = "gs://acme-logs"
  }

  expect_failures = [var.access_log_bucket]
}
