module "files" {
  source = "../../modules/aws-s3"

  name = var.name
  cors = { allowed_origins = var.app_origins }

  signer  = { trusted_principal_arns = var.web_principal_arns }
  sweeper = { trusted_principal_arns = var.sweeper_principal_arns }

  access_log  = { bucket = aws_s3_bucket.logs.id }
  data_events = { trail_bucket = aws_s3_bucket_policy.logs.bucket, trail_prefix = "trail" }
  event_queue = { arn = aws_sqs_queue.events.arn }
  replication = var.recovery_region == null ? null : { bucket_arn = module.copy[0].bucket_arn }
}

# A private bucket like the other one, whose signer takes over where a region is lost.
module "copy" {
  source = "../../modules/aws-s3"
  count  = var.recovery_region == null ? 0 : 1

  providers = { aws = aws.recovery }

  name    = "${var.name}-copy"
  cors    = { allowed_origins = var.app_origins }
  signer  = { trusted_principal_arns = var.web_principal_arns }
  sweeper = { trusted_principal_arns = var.sweeper_principal_arns }
}
