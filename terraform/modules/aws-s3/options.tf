# What is there only where it is asked for: logs, events, a copy elsewhere.

resource "aws_s3_bucket_logging" "this" {
  count = var.access_log == null ? 0 : 1

  bucket        = aws_s3_bucket.this.id
  target_bucket = var.access_log.bucket
  target_prefix = var.access_log.prefix

  target_object_key_format {
    partitioned_prefix {
      partition_date_source = "EventTime"
    }
  }
}

resource "aws_cloudtrail" "this" {
  count = var.data_events == null ? 0 : 1

  name                          = "${local.role_base}-objects"
  s3_bucket_name                = var.data_events.trail_bucket
  s3_key_prefix                 = var.data_events.trail_prefix
  kms_key_id                    = var.data_events.kms_key_arn
  enable_log_file_validation    = true
  include_global_service_events = false
  tags                          = var.tags

  advanced_event_selector {
    name = "Reads and writes of objects"

    field_selector {
      field  = "eventCategory"
      equals = ["Data"]
    }

    field_selector {
      field  = "resources.type"
      equals = ["AWS::S3::Object"]
    }

    field_selector {
      field       = "resources.ARN"
      starts_with = ["${local.bucket_arn}/"]
    }
  }
}

resource "aws_s3_bucket_notification" "this" {
  count = var.event_queue == null ? 0 : 1

  bucket = aws_s3_bucket.this.id

  dynamic "queue" {
    for_each = [var.prefixes.quarantine, var.prefixes.uploads]

    content {
      id            = trimsuffix(queue.value, "/")
      queue_arn     = var.event_queue.arn
      events        = ["s3:ObjectCreated:*"]
      filter_prefix = queue.value
    }
  }
}

data "aws_iam_policy_document" "replication_trust" {
  count = var.replication == null ? 0 : 1

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "replication" {
  count = var.replication == null ? 0 : 1

  statement {
    sid       = "ReadConfiguration"
    actions   = ["s3:GetReplicationConfiguration", "s3:ListBucket"]
    resources = [local.bucket_arn]
  }

  statement {
    sid       = "ReadUploads"
    actions   = ["s3:GetObjectVersionAcl", "s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging"]
    resources = [local.uploads_arn]
  }

  statement {
    sid       = "WriteCopies"
    actions   = ["s3:ReplicateObject", "s3:ReplicateTags"]
    resources = ["${var.replication.bucket_arn}/${var.prefixes.uploads}*"]
  }

  dynamic "statement" {
    for_each = local.is_kms ? [{ sid = "ReadKey", action = "kms:Decrypt", key = local.kms_key_arn }, { sid = "WriteKey", action = "kms:GenerateDataKey", key = var.replication.kms_key_arn }] : []

    content {
      sid       = statement.value.sid
      actions   = [statement.value.action]
      resources = [statement.value.key]
    }
  }
}

resource "aws_iam_role" "replication" {
  count = var.replication == null ? 0 : 1

  name               = "${local.role_base}-replication"
  description        = "Copies uploads of ${var.name} for recovery"
  assume_role_policy = data.aws_iam_policy_document.replication_trust[0].json
  tags               = var.tags
}

resource "aws_iam_role_policy" "replication" {
  count = var.replication == null ? 0 : 1

  name   = "replicate"
  role   = aws_iam_role.replication[0].id
  policy = data.aws_iam_policy_document.replication[0].json
}

resource "aws_s3_bucket_replication_configuration" "this" {
  count = var.replication == null ? 0 : 1

  bucket = aws_s3_bucket.this.id
  role   = aws_iam_role.replication[0].arn

  rule {
    id     = "uploads"
    status = "Enabled"

    filter {
      prefix = var.prefixes.uploads
    }

    # What is deleted here stays there: the copy is for recovery.
    delete_marker_replication {
      status = "Disabled"
    }

    dynamic "source_selection_criteria" {
      for_each = local.is_kms ? [true] : []

      content {
        sse_kms_encrypted_objects {
          status = "Enabled"
        }
      }
    }

    destination {
      bucket = var.replication.bucket_arn

      dynamic "encryption_configuration" {
        for_each = local.is_kms ? [var.replication.kms_key_arn] : []

        content {
          replica_kms_key_id = encryption_configuration.value
        }
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}
