# What a bucket is that was given its name and whom it trusts. Policies are the provider's own rendering.

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
  signer  = { trusted_services = ["ecs-tasks.amazonaws.com"] }
  sweeper = { trusted_services = ["ecs-tasks.amazonaws.com"] }
}

run "private_versioned_encrypted" {
  command = plan

  assert {
    condition     = alltrue([for name in ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"] : aws_s3_bucket_public_access_block.this[name]])
    error_message = "public access is not blocked in all four ways"
  }
  assert {
    condition     = aws_s3_bucket_ownership_controls.this.rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "ACLs mean something"
  }
  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "nothing could be restored"
  }
  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "not encrypted"
  }
  assert {
    condition     = length(aws_kms_key.this) + length(aws_s3_bucket_cors_configuration.this) + length(aws_s3_bucket_logging.this) + length(aws_cloudtrail.this) + length(aws_cloudfront_distribution.this) + length(aws_s3_bucket_replication_configuration.this) + length(aws_s3_bucket_notification.this) == 0
    error_message = "an option is on that nobody asked for"
  }
}

run "bucket_policy_denies" {
  command = plan

  assert {
    condition     = [for statement in jsondecode(data.aws_iam_policy_document.bucket.json).Statement : statement.Sid] == ["DenyInsecureTransport", "DenyOldTls", "DenyOtherSignatures", "DenyStaleUrl", "DenyStalePost", "DenyOverwrite", "DenyCustomerKeys"]
    error_message = "the statements of the bucket policy are others"
  }
  assert {
    condition     = alltrue([for statement in jsondecode(data.aws_iam_policy_document.bucket.json).Statement : statement.Effect == "Deny" && statement.Principal == "*"])
    error_message = "the bucket policy allows something, or denies it to some alone"
  }
  assert {
    condition     = alltrue([for statement in jsondecode(data.aws_iam_policy_document.bucket.json).Statement : statement.Condition.NumericGreaterThan["s3:signatureAge"] == "900000" if startswith(statement.Sid, "DenyStale")])
    error_message = "s3:signatureAge is not the gateway's MAX_TTL in milliseconds"
  }
}

run "signature_age_follows_the_ttl" {
  command = plan

  variables {
    max_presign_ttl_seconds = 300
  }

  assert {
    condition     = length([for statement in jsondecode(data.aws_iam_policy_document.bucket.json).Statement : statement if try(statement.Condition.NumericGreaterThan["s3:signatureAge"], "") == "300000"]) == 2
    error_message = "s3:signatureAge does not follow max_presign_ttl_seconds"
  }
  assert {
    condition     = output.settings.max_ttl_seconds == 300
    error_message = "the settings say another ttl than the bucket"
  }
}

run "signer_reads_and_creates" {
  command = plan

  assert {
    condition     = toset(flatten([for statement in jsondecode(data.aws_iam_policy_document.signer.json).Statement : statement.Action])) == toset(["s3:GetObject", "s3:GetObjectAttributes", "s3:GetObjectVersion", "s3:GetObjectVersionAttributes", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"])
    error_message = "the signer may do something else"
  }
  assert {
    condition     = toset(flatten([for statement in jsondecode(data.aws_iam_policy_document.signer.json).Statement : statement.Resource])) == toset(["arn:aws:s3:::acme-files/uploads/*", "arn:aws:s3:::acme-files/staging/*"])
    error_message = "the signer may do it elsewhere"
  }
}

run "a_key_of_its_own" {
  command = plan

  variables {
    encryption = { mode = "sse-kms" }
  }

  assert {
    condition     = aws_kms_key.this[0].enable_key_rotation && one(one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    error_message = "the key is not rotated, or not used"
  }
}

run "an_emulator_is_warned_of" {
  command = plan

  variables {
    emulator = true
  }

  expect_failures = [check.emulator]

  assert {
    condition     = length(aws_s3_bucket_policy.this) == 0
    error_message = "the emulator has the policy after all"
  }
}

run "a_long_name_makes_roles_that_iam_takes" {
  command = plan

  variables {
    name = "acme-files-of-a-department-with-a-name-that-does-not-want-to-end"
  }

  expect_failures = [var.name]
}

run "the_longest_name_makes_roles_that_iam_takes" {
  command = plan

  variables {
    name = "acme-files-of-a-department-with-a-name-that-does-not-want-to-en"
  }

  assert {
    condition     = length(aws_iam_role.sweeper.name) <= 64 && length(aws_iam_role.signer.name) <= 64
    error_message = "the name of a role has more than 64 characters"
  }
}
