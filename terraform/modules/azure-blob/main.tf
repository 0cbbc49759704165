# The account: no keys, no anonymous access, no old TLS, no long SAS; deleted files can be restored.

locals {
  # https://learn.microsoft.com/azure/storage/common/sas-expiration-policy
  sas_seconds = var.max_presign_ttl_seconds + var.clock_skew_seconds
  sas_period = format(
    "%02d.%02d:%02d:%02d",
    floor(local.sas_seconds / 86400),
    floor(local.sas_seconds / 3600) % 24,
    floor(local.sas_seconds / 60) % 60,
    local.sas_seconds % 60,
  )
}

resource "azurerm_storage_account" "this" {
  name                = var.name
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags

  account_kind             = "StorageV2"
  account_tier             = "Standard"
  account_replication_type = var.replication

  https_traffic_only_enabled        = true
  min_tls_version                   = "TLS1_2"
  shared_access_key_enabled         = false
  default_to_oauth_authentication   = true
  allow_nested_items_to_be_public   = false
  local_user_enabled                = false
  cross_tenant_replication_enabled  = false
  allowed_copy_scope                = "AAD"
  infrastructure_encryption_enabled = true
  # Browsers talk to the account themselves.
  public_network_access_enabled = true

  # Links must then say when they begin.
  sas_policy {
    expiration_period = local.sas_period
    expiration_action = "Block"
  }

  dynamic "identity" {
    for_each = var.customer_managed_key == null ? [] : [var.customer_managed_key.user_assigned_identity_id]

    content {
      type         = "UserAssigned"
      identity_ids = [identity.value]
    }
  }

  dynamic "customer_managed_key" {
    for_each = var.customer_managed_key == null ? [] : [var.customer_managed_key]

    content {
      key_vault_key_id          = customer_managed_key.value.key_vault_key_id
      user_assigned_identity_id = customer_managed_key.value.user_assigned_identity_id
    }
  }

  blob_properties {
    versioning_enabled = true

    delete_retention_policy {
      days                     = var.soft_delete_days
      permanent_delete_enabled = false
    }

    container_delete_retention_policy {
      days = var.soft_delete_days
    }

    dynamic "cors_rule" {
      for_each = length(var.cors.allowed_origins) > 0 ? [var.cors] : []

      content {
        allowed_origins    = sort(cors_rule.value.allowed_origins)
        allowed_methods    = sort(cors_rule.value.allowed_methods)
        allowed_headers    = sort(cors_rule.value.allowed_headers)
        exposed_headers    = sort(cors_rule.value.expose_headers)
        max_age_in_seconds = cors_rule.value.max_age_seconds
      }
    }
  }

  network_rules {
    default_action             = var.network.default_action
    ip_rules                   = var.network.ip_rules
    virtual_network_subnet_ids = var.network.subnet_ids
    bypass                     = var.network.bypass
  }
}

resource "azurerm_storage_container" "this" {
  for_each = var.containers

  name                  = each.value
  storage_account_id    = azurerm_storage_account.this.id
  container_access_type = "private"
}

resource "azurerm_storage_management_policy" "this" {
  storage_account_id = azurerm_storage_account.this.id

  rule {
    name    = "expire-quarantine"
    enabled = true

    filters {
      blob_types   = ["blockBlob"]
      prefix_match = ["${var.containers.quarantine}/"]
    }

    actions {
      base_blob {
        delete_after_days_since_modification_greater_than = var.lifecycle_days.expire_quarantine
      }

      version {
        delete_after_days_since_creation = var.lifecycle_days.expire_quarantine
      }
    }
  }

  rule {
    name    = "expire-noncurrent"
    enabled = true

    filters {
      blob_types   = ["blockBlob"]
      prefix_match = ["${var.containers.uploads}/"]
    }

    actions {
      version {
        delete_after_days_since_creation = var.lifecycle_days.expire_noncurrent
      }
    }
  }

  # What gateway_doctor put there and could not take away.
  rule {
    name    = "expire-probes"
    enabled = true

    filters {
      blob_types   = ["blockBlob"]
      prefix_match = ["${var.containers.uploads}/uploads/gateway-probe"]
    }

    actions {
      base_blob {
        delete_after_days_since_modification_greater_than = 1
      }

      version {
        delete_after_days_since_creation = 1
      }
    }
  }

  dynamic "rule" {
    for_each = var.lifecycle_days.expire_uploads > 0 ? [var.lifecycle_days.expire_uploads] : []

    content {
      name    = "expire-uploads"
      enabled = true

      filters {
        blob_types   = ["blockBlob"]
        prefix_match = ["${var.containers.uploads}/"]
      }

      actions {
        base_blob {
          delete_after_days_since_modification_greater_than = rule.value
        }
      }
    }
  }
}

resource "azurerm_monitor_diagnostic_setting" "blobs" {
  count = var.diagnostics == null ? 0 : 1

  name                       = "presign-gateway"
  target_resource_id         = "${azurerm_storage_account.this.id}/blobServices/default"
  log_analytics_workspace_id = var.diagnostics.log_analytics_workspace_id
  storage_account_id         = var.diagnostics.storage_account_id

  dynamic "enabled_log" {
    for_each = ["StorageDelete", "StorageRead", "StorageWrite"]

    content {
      category = enabled_log.value
    }
  }
}

resource "azurerm_eventgrid_event_subscription" "created" {
  for_each = var.event_queue == null ? {} : var.containers

  name                          = "presign-gateway-${each.key}"
  scope                         = azurerm_storage_account.this.id
  included_event_types          = ["Microsoft.Storage.BlobCreated"]
  service_bus_queue_endpoint_id = var.event_queue.id

  subject_filter {
    subject_begins_with = "/blobServices/default/containers/${each.value}/"
  }
}
