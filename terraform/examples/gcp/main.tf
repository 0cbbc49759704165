# signBlob is a method of this API; a project does not have it from the start.
resource "google_project_service" "iamcredentials" {
  project            = var.project_id
  service            = "iamcredentials.googleapis.com"
  disable_on_destroy = false
}

module "files" {
  source = "../../modules/gcp-gcs"

  name       = var.name
  project_id = var.project_id
  location   = var.location
  cors       = { allowed_origins = var.app_origins }
  signer     = { sign_blob_members = var.sign_blob_members }
}

# Reads and writes with the id of each link: what the audit is reconciled with. Of the whole project, and the
# only one of its kind: where there is one already, add these lines to it.
resource "google_project_iam_audit_config" "storage" {
  project = var.project_id
  service = "storage.googleapis.com"

  audit_log_config {
    log_type = "DATA_READ"
  }

  audit_log_config {
    log_type = "DATA_WRITE"
  }
}

# A bucket has no say in these.
resource "google_org_policy_policy" "https_only" {
  count = var.enforce_organization_policies ? 1 : 0

  name   = "projects/${var.project_id}/policies/storage.secureHttpTransport"
  parent = "projects/${var.project_id}"

  spec {
    rules {
      enforce = "TRUE"
    }
  }
}

resource "google_org_policy_policy" "no_hmac" {
  count = var.enforce_organization_policies ? 1 : 0

  name   = "projects/${var.project_id}/policies/storage.restrictAuthTypes"
  parent = "projects/${var.project_id}"

  spec {
    rules {
      values {
        denied_values = ["SERVICE_ACCOUNT_HMAC_SIGNED_REQUESTS", "USER_ACCOUNT_HMAC_SIGNED_REQUESTS"]
      }
    }
  }
}

resource "google_org_policy_policy" "tls" {
  count = var.enforce_organization_policies ? 1 : 0

  name   = "projects/${var.project_id}/policies/gcp.restrictTLSVersion"
  parent = "projects/${var.project_id}"

  spec {
    rules {
      values {
        denied_values = ["TLS_VERSION_1", "TLS_VERSION_1_1"]
      }
    }
  }
}
