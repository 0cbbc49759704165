terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.45, < 6.0"
    }
    google = {
      source  = "hashicorp/google"
      version = ">= 6.0, < 8.0"
    }
  }
}

provider "aws" {
  region = var.aws.region
}

provider "google" {
  project = var.gcp.project_id
}

provider "azurerm" {
  subscription_id = var.azure.subscription_id
  # The account has no keys to ask it with.
  storage_use_azuread = true

  features {}
}
