resource "azurerm_resource_group" "files" {
  name     = "${var.name}-files"
  location = var.location
}

# Reads, writes and deletions: what the audit is reconciled with.
resource "azurerm_log_analytics_workspace" "files" {
  name                = "${var.name}-files"
  resource_group_name = azurerm_resource_group.files.name
  location            = var.location
  sku                 = "PerGB2018"
  retention_in_days   = 90
}

module "files" {
  source = "../../modules/azure-blob"

  name                = var.name
  resource_group_name = azurerm_resource_group.files.name
  location            = var.location
  cors                = { allowed_origins = var.app_origins }
  diagnostics         = { log_analytics_workspace_id = azurerm_log_analytics_workspace.files.id }
}
