# An outline: the service on Container Apps, and the sweeper as a job. Links are signed by a delegation key that
# the identity gets for an hour or a day; no account key exists.

locals {
  environment = {
    DJANGO_SETTINGS_MODULE = "settings.production"
    ALLOWED_HOSTS          = var.host_name
    GATEWAY_PUBLIC_URL     = "https://${var.host_name}"
    GATEWAY_STORAGES_JSON  = jsonencode({ private = module.files.settings })
    GATEWAY_MAX_TTL        = tostring(module.files.settings.max_ttl_seconds)
    TRUST_PROXY_SSL_HEADER = "1"
  }

  # The signer's client id would name an identity that the job has not.
  sweeper_settings = merge(module.files.settings, {
    signer = merge(module.files.settings.signer, { client_id = module.files.sweeper.client_id })
  })
  sweeper_environment = merge(local.environment, {
    GATEWAY_STORAGES_JSON = jsonencode({ private = local.sweeper_settings })
  })

  secrets = {
    DATABASE_URL = { name = "database-url", id = var.key_vault.database_url_id }
    SECRET_KEY   = { name = "secret-key", id = var.key_vault.secret_key_id }
  }
}

module "files" {
  source = "../../../modules/azure-blob"

  name                = var.storage_account
  resource_group_name = var.resource_group_name
  location            = var.location
  cors                = { allowed_origins = ["https://${var.host_name}"] }
}

resource "azurerm_role_assignment" "secrets" {
  for_each = { signer = module.files.signer.principal_id, sweeper = module.files.sweeper.principal_id }

  scope                = var.key_vault.id
  role_definition_name = "Key Vault Secrets User"
  principal_id         = each.value
  principal_type       = "ServicePrincipal"
}

resource "azurerm_container_app" "web" {
  name                         = var.name
  resource_group_name          = var.resource_group_name
  container_app_environment_id = var.environment_id
  revision_mode                = "Single"

  identity {
    type         = "UserAssigned"
    identity_ids = [module.files.signer.id]
  }

  dynamic "secret" {
    for_each = local.secrets

    content {
      name                = secret.value.name
      identity            = module.files.signer.id
      key_vault_secret_id = secret.value.id
    }
  }

  ingress {
    external_enabled           = true
    target_port                = 8000
    allow_insecure_connections = false

    traffic_weight {
      latest_revision = true
      percentage      = 100
    }
  }

  template {
    min_replicas = 2

    container {
      name   = "gateway"
      image  = var.image
      cpu    = 0.5
      memory = "1Gi"

      dynamic "env" {
        for_each = local.environment

        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secrets

        content {
          name        = env.key
          secret_name = env.value.name
        }
      }

      readiness_probe {
        transport = "HTTP"
        path      = "/readyz"
        port      = 8000

        header {
          name  = "Host"
          value = var.host_name
        }
      }

      # Not /readyz: a database that is away for a minute is no reason to start every replica anew.
      liveness_probe {
        transport = "HTTP"
        path      = "/healthz"
        port      = 8000

        header {
          name  = "Host"
          value = var.host_name
        }
      }
    }
  }

  depends_on = [azurerm_role_assignment.secrets]
}

resource "azurerm_container_app_job" "sweeper" {
  name                         = "${var.name}-sweeper"
  resource_group_name          = var.resource_group_name
  location                     = var.location
  container_app_environment_id = var.environment_id
  replica_timeout_in_seconds   = 1800

  identity {
    type         = "UserAssigned"
    identity_ids = [module.files.sweeper.id]
  }

  schedule_trigger_config {
    cron_expression = "17 * * * *"
  }

  dynamic "secret" {
    for_each = local.secrets

    content {
      name                = secret.value.name
      identity            = module.files.sweeper.id
      key_vault_secret_id = secret.value.id
    }
  }

  template {
    container {
      name   = "gateway"
      image  = var.image
      cpu    = 0.25
      memory = "0.5Gi"
      args   = ["python", "manage.py", "gateway_sweep", "--execute"]

      dynamic "env" {
        for_each = local.sweeper_environment

        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secrets

        content {
          name        = env.key
          secret_name = env.value.name
        }
      }
    }
  }

  depends_on = [azurerm_role_assignment.secrets]
}
