terraform {
  required_version = ">= 1.9"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.45, < 6.0"
    }
  }
}

provider "azurerm" {
  subscription_id = var.subscription_id
  # The account has no keys to ask it with.
  storage_use_azuread = true

  features {}
}
