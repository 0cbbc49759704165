# What an account is that was given its name, group and location.

mock_provider "azurerm" {
  mock_resource "azurerm_storage_account" {
    defaults = {
      id                    = "/subscriptions/s/resourceGroups/acme/providers/Microsoft.Storage/storageAccounts/acmefiles"
      primary_blob_endpoint = "https://acmefiles.blob.core.windows.net/"
    }
  }
  mock_resource "azurerm_role_definition" {
    defaults = {
      role_definition_resource_id = "/providers/Microsoft.Authorization/roleDefinitions/r"
    }
  }
}

variables {
  name                = "acmefiles"
  resource_group_name = "acme"
  location            = "westeurope"
}

run "private_and_restorable" {
  command = plan

  assert {
    condition     = azurerm_storage_account.this.https_traffic_only_enabled && azurerm_storage_account.this.min_tls_version == "TLS1_2"
    error_message = "plain http or old TLS is taken"
  }
  assert {
    condition     = !azurerm_storage_account.this.shared_access_key_enabled && !azurerm_storage_account.this.allow_nested_items_to_be_public && !azurerm_storage_account.this.local_user_enabled
    error_message = "there are keys, local users or public containers"
  }
  assert {
    condition     = azurerm_storage_account.this.blob_properties[0].versioning_enabled && azurerm_storage_account.this.blob_properties[0].delete_retention_policy[0].days == 7
    error_message = "nothing could be restored"
  }
  assert {
    condition     = alltrue([for container in azurerm_storage_container.this : container.container_access_type == "private"])
    error_message = "a container is public"
  }
}

run "links_live_as_long_as_the_gateway_says" {
  command = plan

  assert {
    condition     = azurerm_storage_account.this.sas_policy[0].expiration_action == "Block" && azurerm_storage_account.this.sas_policy[0].expiration_period == "00.00:15:00"
    error_message = "900 seconds are 00.00:15:00, and blocked beyond"
  }
}

run "a_week_is_written_in_days" {
  command = plan

  variables {
    max_presign_ttl_seconds = 604800
  }

  assert {
    condition     = azurerm_storage_account.this.sas_policy[0].expiration_period == "07.00:00:00"
    error_message = "604800 seconds are 07.00:00:00"
  }
}

run "dating_back_is_allowed_for" {
  command = plan

  variables {
    clock_skew_seconds = 61
  }

  assert {
    condition     = azurerm_storage_account.this.sas_policy[0].expiration_period == "00.00:16:01" && output.settings.signer.clock_skew_seconds == 61
    error_message = "a link that is dated back would be blocked"
  }
}

run "signer_reads_and_creates" {
  command = plan

  assert {
    condition     = toset([for action in azurerm_role_definition.uploads.permissions[0].data_actions : basename(action)]) == toset(["read", "action"])
    error_message = "the signer may do something else"
  }
}

run "settings_after_apply" {
  command = apply

  assert {
    condition     = output.settings.endpoint == "https://acmefiles.blob.core.windows.net/" && output.settings.headers.upload["x-ms-blob-type"] == "BlockBlob" && output.settings.signer.signed_start
    error_message = "the settings say something else"
  }
}
