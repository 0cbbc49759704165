# Two identities: one signs (reads and creates), another one deletes. A SAS can do at most what its signer may.

locals {
  can_upload   = contains(var.signer.allow, "upload")
  can_download = contains(var.signer.allow, "download")

  blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
  read  = local.can_download ? ["${local.blobs}/read"] : []

  signer_principal_id  = var.signer.identity == null ? azurerm_user_assigned_identity.signer[0].principal_id : var.signer.identity.principal_id
  sweeper_principal_id = var.sweeper.identity == null ? azurerm_user_assigned_identity.sweeper[0].principal_id : var.sweeper.identity.principal_id

  # Custom roles are made for a resource group at the least: /subscriptions/S/resourceGroups/G.
  resource_group_id = join("/", slice(split("/", azurerm_storage_account.this.id), 0, 5))

  # Reading and listing are one action. No container has this name, so none is listed.
  # https://learn.microsoft.com/azure/storage/blobs/storage-auth-abac-attributes#list-blobs
  no_listing = <<-EOT
    (
     (
      !(ActionMatches{'${local.blobs}/read'} AND SubOperationMatches{'Blob.List'})
     )
     OR
     (
      @Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name] StringEquals 'nobody-lists'
     )
    )
  EOT
}

resource "azurerm_user_assigned_identity" "signer" {
  count = var.signer.identity == null ? 1 : 0

  name                = "${var.name}-signer"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

resource "azurerm_user_assigned_identity" "sweeper" {
  count = var.sweeper.identity == null ? 1 : 0

  name                = "${var.name}-sweeper"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

# "Storage Blob Data Contributor" would delete and overwrite: add creates a blob, write replaces one.
resource "azurerm_role_definition" "uploads" {
  name        = "Presign gateway signer (${var.name}, uploads)"
  scope       = local.resource_group_id
  description = "Reads blobs and creates new ones"

  permissions {
    data_actions = concat(local.read, local.can_upload ? ["${local.blobs}/add/action"] : [])
  }

  assignable_scopes = [local.resource_group_id]
}

# Blocks are written before there is a blob, and writing is all that Put Block knows.
resource "azurerm_role_definition" "quarantine" {
  name        = "Presign gateway signer (${var.name}, quarantine)"
  scope       = local.resource_group_id
  description = "Reads blobs and writes blocks"

  permissions {
    data_actions = concat(local.read, local.can_upload ? ["${local.blobs}/write"] : [])
  }

  assignable_scopes = [local.resource_group_id]
}

resource "azurerm_role_definition" "sweeper" {
  name        = "Presign gateway sweeper (${var.name})"
  scope       = local.resource_group_id
  description = "Lists and deletes blobs; versions stay"

  permissions {
    data_actions = ["${local.blobs}/delete", "${local.blobs}/read"]
  }

  assignable_scopes = [local.resource_group_id]
}

resource "azurerm_role_assignment" "signer_uploads" {
  scope              = azurerm_storage_container.this["uploads"].id
  role_definition_id = azurerm_role_definition.uploads.role_definition_resource_id
  principal_id       = local.signer_principal_id
  principal_type     = "ServicePrincipal"
  condition          = local.no_listing
  condition_version  = "2.0"
}

resource "azurerm_role_assignment" "signer_quarantine" {
  scope              = azurerm_storage_container.this["quarantine"].id
  role_definition_id = azurerm_role_definition.quarantine.role_definition_resource_id
  principal_id       = local.signer_principal_id
  principal_type     = "ServicePrincipal"
  condition          = local.no_listing
  condition_version  = "2.0"
}

# The key that signs is the account's to give; it opens nothing by itself.
resource "azurerm_role_assignment" "signer_delegates" {
  scope                = azurerm_storage_account.this.id
  role_definition_name = "Storage Blob Delegator"
  principal_id         = local.signer_principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "sweeper" {
  for_each = azurerm_storage_container.this

  scope              = each.value.id
  role_definition_id = azurerm_role_definition.sweeper.role_definition_resource_id
  principal_id       = local.sweeper_principal_id
  principal_type     = "ServicePrincipal"
}
