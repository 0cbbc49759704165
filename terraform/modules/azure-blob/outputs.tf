output "settings" {
  description = "What the gateway's STORAGES entry is made from; holds no secret."
  value = {
    provider = "azure"
    account  = azurerm_storage_account.this.name
    endpoint = azurerm_storage_account.this.primary_blob_endpoint
    bucket   = azurerm_storage_container.this["uploads"].name
    region   = var.location
    # The whole container is for uploads, so no prefix is needed.
    uploads_prefix  = ""
    quarantine      = azurerm_storage_container.this["quarantine"].name
    max_ttl_seconds = var.max_presign_ttl_seconds
    cors_origins    = sort(var.cors.allowed_origins)
    operations      = sort(var.signer.allow)
    signer = {
      client_id            = one(azurerm_user_assigned_identity.signer[*].client_id)
      principal_id         = local.signer_principal_id
      sweeper_client_id    = one(azurerm_user_assigned_identity.sweeper[*].client_id)
      sweeper_principal_id = local.sweeper_principal_id
      signed_start         = true
      clock_skew_seconds   = var.clock_skew_seconds
    }
    encryption = {
      mode = var.customer_managed_key == null ? "microsoft" : "cmk"
      key  = var.customer_managed_key == null ? null : var.customer_managed_key.key_vault_key_id
    }
    headers = {
      upload = { "x-ms-blob-type" = "BlockBlob" }
    }
  }

  # Whoever reads this may sign at once.
  depends_on = [
    azurerm_role_assignment.signer_delegates,
    azurerm_role_assignment.signer_quarantine,
    azurerm_role_assignment.signer_uploads,
  ]
}

output "account_id" {
  description = "Resource id of the storage account."
  value       = azurerm_storage_account.this.id
}

output "container_ids" {
  description = "Resource ids of the containers, uploads and quarantine."
  value       = { for purpose, container in azurerm_storage_container.this : purpose => container.id }
}

output "signer" {
  description = "Resource, client and principal id of the identity that the web process runs as; the first two are null where signer.identity was given."
  value = {
    id           = one(azurerm_user_assigned_identity.signer[*].id)
    client_id    = one(azurerm_user_assigned_identity.signer[*].client_id)
    principal_id = local.signer_principal_id
  }
}

output "sweeper" {
  description = "The same of the identity that gateway_sweep runs as."
  value = {
    id           = one(azurerm_user_assigned_identity.sweeper[*].id)
    client_id    = one(azurerm_user_assigned_identity.sweeper[*].client_id)
    principal_id = local.sweeper_principal_id
  }
}
