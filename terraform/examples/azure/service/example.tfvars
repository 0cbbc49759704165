subscription_id     = "00000000-0000-0000-0000-000000000000"
resource_group_name = "acme"
location            = "westeurope"
name                = "gateway"
storage_account     = "acmeprivatefiles"
host_name           = "files.example.com"
image               = "acme.azurecr.io/gateway@sha256:0000000000000000000000000000000000000000000000000000000000000000"
environment_id      = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/acme/providers/Microsoft.App/managedEnvironments/acme"

key_vault = {
  id              = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/acme/providers/Microsoft.KeyVault/vaults/acme"
  database_url_id = "https://acme.vault.azure.net/secrets/gateway-database-url"
  secret_key_id   = "https://acme.vault.azure.net/secrets/gateway-secret-key"
}
