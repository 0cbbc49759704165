# Each variable that can be wrong, wrong.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  name    = "acme-files"
  signer  = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/web"] }
  sweeper = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/cron"] }
}

run "refuses_a_dotted_name" {
  command = plan

  variables {
    name = "acme.files"
  }

  expect_failures = [var.name]
}

run "refuses_a_long_name" {
  command = plan

  variables {
    name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  }

  expect_failures = [var.name]
}

run "refuses_capitals" {
  command = plan

  variables {
    name = "Acme-files"
  }

  expect_failures = [var.name]
}

run "refuses_a_reserved_name" {
  command = plan

  variables {
    name = "acme-files-s3alias"
  }

  expect_failures = [var.name]
}

run "refuses_a_ttl_above_any_session" {
  command = plan

  variables {
    max_presign_ttl_seconds = 43201
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
    cors = { allowed_headers = ["*"] }
  }

  expect_failures = [var.cors]
}

run "refuses_a_signer_that_deletes" {
  command = plan

  variables {
    signer = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/web"], allow = ["download", "delete"] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_signer_that_lists" {
  command = plan

  variables {
    signer = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/web"], allow = ["list"] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_signer_that_tags" {
  command = plan

  variables {
    signer = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/web"], allow = ["upload", "tag"] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_signer_that_may_nothing" {
  command = plan

  variables {
    signer = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/web"], allow = [] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_signer_that_nobody_is" {
  command = plan

  variables {
    signer = {}
  }

  expect_failures = [var.signer]
}

run "refuses_a_signer_that_everybody_is" {
  command = plan

  variables {
    signer = { trusted_principal_arns = ["*"] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_signer_that_every_role_is" {
  command = plan

  variables {
    signer = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/*"] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_service_that_is_none" {
  command = plan

  variables {
    signer = { trusted_services = ["*"] }
  }

  expect_failures = [var.signer]
}

run "refuses_every_subject" {
  command = plan

  variables {
    signer = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/t", issuer = "t.example.com", subjects = ["*"] } }
  }

  expect_failures = [var.signer]
}

run "refuses_no_subject" {
  command = plan

  variables {
    signer = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/t", issuer = "t.example.com", subjects = [] } }
  }

  expect_failures = [var.signer]
}

run "refuses_an_issuer_with_a_scheme" {
  command = plan

  variables {
    signer = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/t", issuer = "https://t.example.com", subjects = ["a"] } }
  }

  expect_failures = [var.signer]
}

run "refuses_a_session_of_a_day" {
  command = plan

  variables {
    signer = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/web"], max_session_duration = 86400 }
  }

  expect_failures = [var.signer]
}

run "refuses_a_session_shorter_than_a_link" {
  command = plan

  variables {
    max_presign_ttl_seconds = 7200
    signer                  = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/web"] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_network_that_is_all" {
  command = plan

  variables {
    signer = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/web"], source_cidrs = ["0.0.0.0/0"] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_network_that_is_none" {
  command = plan

  variables {
    signer = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/web"], source_cidrs = ["office"] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_sweeper_that_nobody_is" {
  command = plan

  variables {
    sweeper = {}
  }

  expect_failures = [var.sweeper]
}

run "refuses_a_sweeper_that_everybody_is" {
  command = plan

  variables {
    sweeper = { trusted_principal_arns = ["*"] }
  }

  expect_failures = [var.sweeper]
}

run "refuses_a_sweeper_that_signs" {
  command = plan

  variables {
    sweeper = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/web"] }
  }

  expect_failures = [var.sweeper]
}

run "refuses_a_sweeper_of_every_subject" {
  command = plan

  variables {
    sweeper = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/t", issuer = "t.example.com", subjects = ["*"] } }
  }

  expect_failures = [var.sweeper]
}

run "refuses_no_encryption" {
  command = plan

  variables {
    encryption = { mode = "none" }
  }

  expect_failures = [var.encryption]
}

run "refuses_a_key_that_is_not_used" {
  command = plan

  variables {
    encryption = { mode = "sse-s3", kms_key = { arn = "arn:aws:kms:eu-west-1:111122223333:key/1111" } }
  }

  expect_failures = [var.encryption]
}

run "refuses_an_alias_for_a_key" {
  command = plan

  variables {
    encryption = { mode = "sse-kms", kms_key = { arn = "arn:aws:kms:eu-west-1:111122223333:alias/a" } }
  }

  expect_failures = [var.encryption]
}

run "refuses_a_key_deleted_at_once" {
  command = plan

  variables {
    encryption = { mode = "sse-kms", deletion_window_in_days = 1 }
  }

  expect_failures = [var.encryption]
}

run "refuses_a_log_of_itself" {
  command = plan

  variables {
    access_log = { bucket = "acme-files" }
  }

  expect_failures = [var.access_log]
}

run "refuses_a_trail_of_itself" {
  command = plan

  variables {
    data_events = { trail_bucket = "acme-files" }
  }

  expect_failures = [var.data_events]
}

run "refuses_a_queue_that_is_none" {
  command = plan

  variables {
    event_queue = { arn = "created" }
  }

  expect_failures = [var.event_queue]
}

run "refuses_copies_without_a_key" {
  command = plan

  variables {
    encryption  = { mode = "sse-kms" }
    replication = { bucket_arn = "arn:aws:s3:::copy" }
  }

  expect_failures = [var.replication]
}

run "refuses_cloudfront_without_a_key" {
  command = plan

  variables {
    cloudfront = { public_keys = {}, aliases = ["cdn.example.com"], acm_certificate_arn = "arn:aws:acm:us-east-1:111122223333:certificate/1111-2222" }
  }

  expect_failures = [var.cloudfront]
}

run "refuses_cloudfront_with_a_private_key" {
  command = plan

  variables {
    cloudfront = { public_keys = { a = "-----BEGIN PRIVATE KEY-----" }, aliases = ["cdn.example.com"], acm_certificate_arn = "arn:aws:acm:us-east-1:111122223333:certificate/1111-2222" }
  }

  expect_failures = [var.cloudfront]
}

run "refuses_cloudfront_with_its_own_certificate" {
  command = plan

  variables {
    cloudfront = { public_keys = { a = "-----BEGIN PUBLIC KEY-----\nMFww\n-----END PUBLIC KEY-----\n" }, aliases = [], acm_certificate_arn = "arn:aws:acm:us-east-1:111122223333:certificate/1111-2222" }
  }

  expect_failures = [var.cloudfront]
}

run "refuses_a_certificate_of_another_region" {
  command = plan

  variables {
    cloudfront = { public_keys = { a = "-----BEGIN PUBLIC KEY-----\nMFww\n-----END PUBLIC KEY-----\n" }, aliases = ["cdn.example.com"], acm_certificate_arn = "arn:aws:acm:eu-west-1:111122223333:certificate/1111" }
  }

  expect_failures = [var.cloudfront]
}

run "refuses_a_key_that_cloudfront_cannot_use" {
  command = plan

  variables {
    encryption = { mode = "sse-kms" }
    cloudfront = { public_keys = { a = "-----BEGIN PUBLIC KEY-----\nMFww\n-----END PUBLIC KEY-----\n" }, aliases = ["cdn.example.com"], acm_certificate_arn = "arn:aws:acm:us-east-1:111122223333:certificate/1111-2222" }
  }

  expect_failures = [var.cloudfront]
}

run "refuses_a_sweeper_of_a_service_that_is_none" {
  command = plan

  variables {
    sweeper = { trusted_services = ["*.amazonaws.com"] }
  }

  expect_failures = [var.sweeper]
}

run "refuses_a_wildcard_of_exposed_headers" {
  command = plan

  variables {
    cors = { expose_headers = ["*"] }
  }

  expect_failures = [var.cors]
}

run "refuses_a_provider_of_another_issuer_for_the_signer" {
  command = plan

  variables {
    signer = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/other.example.com", issuer = "token.example.com", subjects = ["a"] } }
  }

  expect_failures = [var.signer]
}

run "refuses_an_external_id_of_one_letter_for_the_signer" {
  command = plan

  variables {
    signer = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/web"], external_id = "a" }
  }

  expect_failures = [var.signer]
}

run "refuses_a_boundary_of_the_signer_that_is_no_policy" {
  command = plan

  variables {
    signer = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/web"], permissions_boundary_arn = "arn:aws:iam::111122223333:role/web" }
  }

  expect_failures = [var.signer]
}

run "refuses_a_provider_of_another_issuer_for_the_sweeper" {
  command = plan

  variables {
    sweeper = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/other.example.com", issuer = "token.example.com", subjects = ["a"] } }
  }

  expect_failures = [var.sweeper]
}

run "refuses_an_external_id_of_one_letter_for_the_sweeper" {
  command = plan

  variables {
    sweeper = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/cron"], external_id = "a" }
  }

  expect_failures = [var.sweeper]
}

run "refuses_a_boundary_of_the_sweeper_that_is_no_policy" {
  command = plan

  variables {
    sweeper = { trusted_principal_arns = ["arn:aws:iam::111122223333:role/cron"], permissions_boundary_arn = "arn:aws:iam::111122223333:role/cron" }
  }

  expect_failures = [var.sweeper]
}

run "refuses_a_log_bucket_by_its_arn" {
  command = plan

  variables {
    access_log = { bucket = "arn:aws:s3:::acme-logs" }
  }

  expect_failures = [var.access_log]
}

run "refuses_a_trail_bucket_by_its_arn" {
  command = plan

  variables {
    data_events = { trail_bucket = "arn:aws:s3:::acme-logs" }
  }

  expect_failures = [var.data_events]
}

run "refuses_an_alias_for_the_trails_key" {
  command = plan

  variables {
    data_events = { trail_bucket = "acme-logs", kms_key_arn = "arn:aws:kms:eu-west-1:111122223333:alias/a" }
  }

  expect_failures = [var.data_events]
}

run "refuses_a_copy_by_its_name" {
  command = plan

  variables {
    replication = { bucket_arn = "acme-copy" }
  }

  expect_failures = [var.replication]
}

run "refuses_a_copy_of_itself" {
  command = plan

  variables {
    replication = { bucket_arn = "arn:aws:s3:::acme-files" }
  }

  expect_failures = [var.replication]
}

run "refuses_an_alias_for_the_copys_key" {
  command = plan

  variables {
    encryption  = { mode = "sse-kms" }
    replication = { bucket_arn = "arn:aws:s3:::acme-copy", kms_key_arn = "arn:aws:kms:eu-west-1:111122223333:alias/a" }
  }

  expect_failures = [var.replication]
}

run "refuses_a_regional_web_acl" {
  command = plan

  variables {
    cloudfront = { public_keys = { a = "-----BEGIN PUBLIC KEY-----\nMFww\n-----END PUBLIC KEY-----\n" }, aliases = ["cdn.example.com"], acm_certificate_arn = "arn:aws:acm:us-east-1:111122223333:certificate/1111-2222", web_acl_arn = "arn:aws:wafv2:eu-west-1:111122223333:regional/webacl/a/b" }
  }

  expect_failures = [var.cloudfront]
}
