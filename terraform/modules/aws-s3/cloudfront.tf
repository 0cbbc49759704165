# Downloads through CloudFront: signed by a key of the trusted group, and the bucket answers this distribution alone.

locals {
  cloudfront_count = var.cloudfront == null ? 0 : 1
}

resource "aws_cloudfront_public_key" "this" {
  for_each = var.cloudfront == null ? {} : var.cloudfront.public_keys

  name        = "${local.role_base}-${each.key}"
  encoded_key = each.value
}

resource "aws_cloudfront_key_group" "this" {
  count = local.cloudfront_count

  name  = local.role_base
  items = [for key in aws_cloudfront_public_key.this : key.id]
}

resource "aws_cloudfront_origin_access_control" "this" {
  count = local.cloudfront_count

  name                              = local.role_base
  origin_access_control_origin_type = "s3"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

resource "aws_cloudfront_cache_policy" "this" {
  count = local.cloudfront_count

  name        = local.role_base
  min_ttl     = 0
  default_ttl = 86400
  max_ttl     = 31536000

  parameters_in_cache_key_and_forwarded_to_origin {
    enable_accept_encoding_brotli = true
    enable_accept_encoding_gzip   = true

    cookies_config {
      cookie_behavior = "none"
    }

    headers_config {
      header_behavior = "whitelist"

      # S3 answers by it, where there are CORS rules.
      headers {
        items = ["Origin"]
      }
    }

    # What a link may ask of the answer. A link's own id stays in CloudFront's log, or no two links would share a copy.
    query_strings_config {
      query_string_behavior = "whitelist"

      query_strings {
        items = ["response-cache-control", "response-content-disposition", "response-content-type", "versionId"]
      }
    }
  }
}

resource "aws_cloudfront_distribution" "this" {
  count = local.cloudfront_count

  comment         = "Downloads of ${var.name}"
  enabled         = true
  is_ipv6_enabled = true
  http_version    = "http2and3"
  price_class     = var.cloudfront.price_class
  aliases         = var.cloudfront.aliases
  web_acl_id      = var.cloudfront.web_acl_arn
  tags            = var.tags

  origin {
    origin_id                = "bucket"
    domain_name              = "${var.name}.s3.${local.region}.${local.dns_suffix}"
    origin_access_control_id = aws_cloudfront_origin_access_control.this[0].id
  }

  default_cache_behavior {
    target_origin_id = "bucket"
    allowed_methods  = ["GET", "HEAD"]
    cached_methods   = ["GET", "HEAD"]
    cache_policy_id  = aws_cloudfront_cache_policy.this[0].id
    compress         = true

    # A redirect to https would come after the link went over plain http.
    viewer_protocol_policy = "https-only"
    trusted_key_groups     = [aws_cloudfront_key_group.this[0].id]
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    acm_certificate_arn      = var.cloudfront.acm_certificate_arn
    minimum_protocol_version = "TLSv1.2_2021"
    ssl_support_method       = "sni-only"
  }
}
