output "settings" {
  description = "What the gateway's STORAGES entry is made from; holds no secret."
  value = {
    provider        = "s3"
    bucket          = aws_s3_bucket.this.id
    region          = local.region
    uploads_prefix  = var.prefixes.uploads
    quarantine      = var.prefixes.quarantine
    max_ttl_seconds = var.max_presign_ttl_seconds
    cors_origins    = sort(var.cors.allowed_origins)
    operations      = sort(var.signer.allow)
    signer = {
      role_arn         = aws_iam_role.signer.arn
      sweeper_role_arn = aws_iam_role.sweeper.arn
    }
    encryption = {
      mode = var.encryption.mode
      key  = local.kms_key_arn
    }
    headers = {
      upload = { "If-None-Match" = "*" }
    }
  }

  # Whoever reads this may sign at once.
  depends_on = [
    aws_iam_role_policy.key,
    aws_iam_role_policy.signer,
    aws_s3_bucket_cors_configuration.this,
    aws_s3_bucket_ownership_controls.this,
    aws_s3_bucket_policy.this,
    aws_s3_bucket_server_side_encryption_configuration.this,
    aws_s3_bucket_versioning.this,
  ]
}

output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.id
}

output "bucket_arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.this.arn
}

output "signer_role_arn" {
  description = "Role that the web process runs as, or assumes."
  value       = aws_iam_role.signer.arn
}

output "sweeper_role_arn" {
  description = "Role that gateway_sweep runs as, or assumes."
  value       = aws_iam_role.sweeper.arn
}

output "kms_key_arn" {
  description = "Key of the bucket; null with sse-s3."
  value       = local.kms_key_arn
}

output "cloudfront" {
  description = "Host name, ARN and the ids of the public keys by name; null without CloudFront."
  value = var.cloudfront == null ? null : {
    arn           = aws_cloudfront_distribution.this[0].arn
    domain_name   = aws_cloudfront_distribution.this[0].domain_name
    key_pair_ids  = { for name, key in aws_cloudfront_public_key.this : name => key.id }
    endpoint_urls = [for alias in sort(var.cloudfront.aliases) : "https://${alias}"]
  }
}
