# An outline: the service on Cloud Run, and the sweeper as a job. Links are signed by IAM's signBlob, without a key.

locals {
  environment = {
    DJANGO_SETTINGS_MODULE = "settings.production"
    ALLOWED_HOSTS          = var.host_name
    GATEWAY_PUBLIC_URL     = "https://${var.host_name}"
    GATEWAY_STORAGES_JSON  = jsonencode({ private = module.files.settings })
    GATEWAY_MAX_TTL        = tostring(module.files.settings.max_ttl_seconds)
    TRUST_PROXY_SSL_HEADER = "1"
  }

  # Each secret, for each of the two accounts that tasks run as.
  readers = {
    for pair in setproduct(keys(var.secrets), ["signer", "sweeper"]) : join("/", pair) => {
      secret = var.secrets[pair[0]]
      email  = pair[1] == "signer" ? module.files.signer_email : module.files.sweeper_email
    }
  }
}

resource "google_project_service" "iamcredentials" {
  project            = var.project_id
  service            = "iamcredentials.googleapis.com"
  disable_on_destroy = false
}

module "files" {
  source = "../../../modules/gcp-gcs"

  name       = var.bucket
  project_id = var.project_id
  location   = var.region
  cors       = { allowed_origins = ["https://${var.host_name}"] }
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = local.readers

  project   = var.project_id
  secret_id = each.value.secret
  role      = "roles/secretmanager.secretAccessor"
  member    = "serviceAccount:${each.value.email}"
}

resource "google_project_iam_member" "database" {
  for_each = { signer = module.files.signer_email, sweeper = module.files.sweeper_email }

  project = var.project_id
  role    = "roles/cloudsql.client"
  member  = "serviceAccount:${each.value}"
}

resource "google_cloud_run_v2_service" "web" {
  project  = var.project_id
  name     = var.name
  location = var.region
  ingress  = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"

  template {
    service_account = module.files.signer_email

    volumes {
      name = "cloudsql"

      cloud_sql_instance {
        instances = [var.cloud_sql_instance]
      }
    }

    containers {
      image = var.image

      ports {
        container_port = 8000
      }

      dynamic "env" {
        for_each = local.environment

        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = var.secrets

        content {
          name = env.key

          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }

      volume_mounts {
        name       = "cloudsql"
        mount_path = "/cloudsql"
      }

      startup_probe {
        http_get {
          path = "/readyz"
          port = 8000

          http_headers {
            name  = "Host"
            value = var.host_name
          }
        }
      }

      # Not /readyz: a database that is away for a minute is no reason to start every instance anew.
      liveness_probe {
        http_get {
          path = "/healthz"
          port = 8000

          http_headers {
            name  = "Host"
            value = var.host_name
          }
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reader, google_project_service.iamcredentials]
}

# The gateway asks everybody who they are by itself.
resource "google_cloud_run_v2_service_iam_member" "everybody" {
  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.web.name
  role     = "roles/run.invoker"
  member   = "allUsers"
}

# To be run by Cloud Scheduler, every hour.
resource "google_cloud_run_v2_job" "sweeper" {
  project  = var.project_id
  name     = "${var.name}-sweeper"
  location = var.region

  template {
    template {
      service_account = module.files.sweeper_email

      volumes {
        name = "cloudsql"

        cloud_sql_instance {
          instances = [var.cloud_sql_instance]
        }
      }

      containers {
        image = var.image
        args  = ["python", "manage.py", "gateway_sweep", "--execute"]

        dynamic "env" {
          for_each = local.environment

          content {
            name  = env.key
            value = env.value
          }
        }

        dynamic "env" {
          for_each = var.secrets

          content {
            name = env.key

            value_source {
              secret_key_ref {
                secret  = env.value
                version = "latest"
              }
            }
          }
        }

        volume_mounts {
          name       = "cloudsql"
          mount_path = "/cloudsql"
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reader]
}
