# Two identities: one signs (reads and creates), another one deletes. Neither can do the other's work.

locals {
  # IAM takes 64 characters; the longest suffix here has 12.
  role_base = length(var.name) <= 52 ? var.name : "${substr(var.name, 0, 43)}-${substr(sha256(var.name), 0, 8)}"

  can_upload   = contains(var.signer.allow, "upload")
  can_download = contains(var.signer.allow, "download")

  trusts = { signer = var.signer, sweeper = var.sweeper }
}

data "aws_iam_policy_document" "trust" {
  for_each = local.trusts

  dynamic "statement" {
    for_each = length(each.value.trusted_principal_arns) > 0 ? [each.value.trusted_principal_arns] : []

    content {
      sid     = "Principals"
      actions = ["sts:AssumeRole"]

      principals {
        type        = "AWS"
        identifiers = statement.value
      }

      dynamic "condition" {
        for_each = each.value.external_id == null ? [] : [each.value.external_id]

        content {
          test     = "StringEquals"
          variable = "sts:ExternalId"
          values   = [condition.value]
        }
      }
    }
  }

  dynamic "statement" {
    for_each = length(each.value.trusted_services) > 0 ? [each.value.trusted_services] : []

    content {
      sid     = "Services"
      actions = ["sts:AssumeRole"]

      principals {
        type        = "Service"
        identifiers = statement.value
      }
    }
  }

  dynamic "statement" {
    for_each = each.value.oidc == null ? [] : [each.value.oidc]

    content {
      sid     = "WebIdentity"
      actions = ["sts:AssumeRoleWithWebIdentity"]

      principals {
        type        = "Federated"
        identifiers = [statement.value.provider_arn]
      }

      condition {
        test     = "StringEquals"
        variable = "${statement.value.issuer}:sub"
        values   = statement.value.subjects
      }

      condition {
        test     = "StringEquals"
        variable = "${statement.value.issuer}:aud"
        values   = [statement.value.audience]
      }
    }
  }
}

# A link can do what its signer can: no listing, no deleting, no ACLs, no tags, nothing outside the prefixes.
data "aws_iam_policy_document" "signer" {
  dynamic "statement" {
    for_each = local.can_download ? ["Download"] : []

    content {
      sid = statement.value
      # Pinned links name a version.
      actions = [
        "s3:GetObject",
        "s3:GetObjectAttributes",
        "s3:GetObjectVersion",
        "s3:GetObjectVersionAttributes",
      ]
      resources = [local.uploads_arn, local.quarantine_arn]

      dynamic "condition" {
        for_each = length(var.signer.source_cidrs) > 0 ? [var.signer.source_cidrs] : []

        content {
          test     = "IpAddress"
          variable = "aws:SourceIp"
          values   = condition.value
        }
      }
    }
  }

  dynamic "statement" {
    for_each = local.can_upload ? ["Upload"] : []

    content {
      sid = statement.value
      # Of its own unfinished uploads it sees the parts, and may give them up.
      actions = [
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
      ]
      resources = [local.uploads_arn, local.quarantine_arn]

      dynamic "condition" {
        for_each = length(var.signer.source_cidrs) > 0 ? [var.signer.source_cidrs] : []

        content {
          test     = "IpAddress"
          variable = "aws:SourceIp"
          values   = condition.value
        }
      }
    }
  }
}

data "aws_iam_policy_document" "sweeper" {
  statement {
    sid = "Delete"
    actions = [
      "s3:AbortMultipartUpload",
      "s3:DeleteObject",
      "s3:GetObject",
      "s3:ListMultipartUploadParts",
    ]
    resources = [local.uploads_arn, local.quarantine_arn]
  }

  # A deleted file leaves its versions, from which it can be restored; only the doctor's own probes go wholly.
  statement {
    sid       = "DeleteProbes"
    actions   = ["s3:DeleteObjectVersion"]
    resources = ["${local.bucket_arn}/${var.prefixes.uploads}gateway-probe*"]
  }

  # Rows are compared with all that is in the bucket, whatever its prefix; without one the SDK asks for all.
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [local.bucket_arn]
  }

  statement {
    sid       = "ListVersionsOfProbes"
    actions   = ["s3:ListBucketVersions"]
    resources = [local.bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${var.prefixes.uploads}gateway-probe*"]
    }
  }
}

data "aws_iam_policy_document" "key" {
  for_each = local.is_kms ? { signer = local.can_upload ? ["kms:Decrypt", "kms:GenerateDataKey"] : ["kms:Decrypt"], sweeper = ["kms:Decrypt"] } : {}

  statement {
    sid       = "UseKeyThroughS3"
    actions   = each.value
    resources = [local.kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${local.region}.${local.dns_suffix}"]
    }
  }
}

resource "aws_iam_role" "signer" {
  name                 = "${local.role_base}-signer"
  description          = "Signs links to ${var.name}: reads and creates below its prefixes"
  assume_role_policy   = data.aws_iam_policy_document.trust["signer"].json
  max_session_duration = var.signer.max_session_duration
  permissions_boundary = var.signer.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "signer" {
  name   = "sign"
  role   = aws_iam_role.signer.id
  policy = data.aws_iam_policy_document.signer.json
}

resource "aws_iam_role" "sweeper" {
  name                 = "${local.role_base}-sweeper"
  description          = "Deletes what nothing names any more in ${var.name}"
  assume_role_policy   = data.aws_iam_policy_document.trust["sweeper"].json
  permissions_boundary = var.sweeper.permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "sweeper" {
  name   = "sweep"
  role   = aws_iam_role.sweeper.id
  policy = data.aws_iam_policy_document.sweeper.json
}

resource "aws_iam_role_policy" "key" {
  for_each = local.is_kms ? { signer = aws_iam_role.signer.id, sweeper = aws_iam_role.sweeper.id } : {}

  name   = "key"
  role   = each.value
  policy = data.aws_iam_policy_document.key[each.key].json
}
