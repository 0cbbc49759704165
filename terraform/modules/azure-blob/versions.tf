terraform {
  required_version = ">= 1.9"

  required_providers {
    azurerm = {
      source = "hashicorp/azurerm"
      # 4.45 brought the SAS policy that blocks.
      version = ">= 4.45, < 6.0"
    }
  }
}
