# Each variable that can be wrong, wrong.

mock_provider "azurerm" {}

variables {
  name                = "acmefiles"
  resource_group_name = "acme"
  location            = "westeurope"
}

run "refuses_a_name_with_a_hyphen" {
  command = plan

  variables {
    name = "acme-files"
  }

  expect_failures = [var.name]
}

run "refuses_a_long_name" {
  command = plan

  variables {
    name = "aaaaaaaaaaaaaaaaaaaaaaaaa"
  }

  expect_failures = [var.name]
}

run "refuses_a_group_with_a_slash" {
  command = plan

  variables {
    resource_group_name = "a/b"
  }

  expect_failures = [var.resource_group_name]
}

run "refuses_a_location_with_a_space" {
  command = plan

  variables {
    location = "West Europe"
  }

  expect_failures = [var.location]
}

run "refuses_a_replication_that_is_none" {
  command = plan

  variables {
    replication = "XRS"
  }

  expect_failures = [var.replication]
}

run "refuses_one_container_for_both" {
  command = plan

  variables {
    containers = { quarantine = "uploads" }
  }

  expect_failures = [var.containers]
}

run "refuses_a_container_with_a_slash" {
  command = plan

  variables {
    containers = { uploads = "uploads/" }
  }

  expect_failures = [var.containers]
}

run "refuses_the_web_container" {
  command = plan

  variables {
    containers = { uploads = "$web" }
  }

  expect_failures = [var.containers]
}

run "refuses_a_ttl_above_a_week" {
  command = plan

  variables {
    max_presign_ttl_seconds = 604801
  }

  expect_failures = [var.max_presign_ttl_seconds]
}

run "refuses_a_ttl_below_a_minute" {
  command = plan

  variables {
    max_presign_ttl_seconds = 59
  }

  expect_failures = [var.max_presign_ttl_seconds]
}

run "refuses_half_a_second" {
  command = plan

  variables {
    max_presign_ttl_seconds = 900.5
  }

  expect_failures = [var.max_presign_ttl_seconds]
}

run "refuses_cors_for_everybody" {
  command = plan

  variables {
    cors = { allowed_origins = ["*"] }
  }

  expect_failures = [var.cors]
}

run "refuses_cors_over_plain_http" {
  command = plan

  variables {
    cors = { allowed_origins = ["http://app.example.com"] }
  }

  expect_failures = [var.cors]
}

run "refuses_cors_with_a_path" {
  command = plan

  variables {
    cors = { allowed_origins = ["https://app.example.com/"] }
  }

  expect_failures = [var.cors]
}

run "refuses_cors_for_subdomains" {
  command = plan

  variables {
    cors = { allowed_origins = ["https://*.example.com"] }
  }

  expect_failures = [var.cors]
}

run "refuses_cors_that_deletes" {
  command = plan

  variables {
    cors = { allowed_origins = ["https://app.example.com"], allowed_methods = ["DELETE"] }
  }

  expect_failures = [var.cors]
}

run "refuses_a_cors_answer_kept_for_a_week" {
  command = plan

  variables {
    cors = { max_age_seconds = 604800 }
  }

  expect_failures = [var.cors]
}

run "refuses_a_quarantine_that_is_never_emptied" {
  command = plan

  variables {
    lifecycle_days = { expire_quarantine = 0 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_a_quarantine_kept_for_a_year" {
  command = plan

  variables {
    lifecycle_days = { expire_quarantine = 365 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_nothing_to_restore" {
  command = plan

  variables {
    lifecycle_days = { expire_noncurrent = 0 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_six_days_to_restore" {
  command = plan

  variables {
    lifecycle_days = { expire_noncurrent = 6 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_days_below_zero" {
  command = plan

  variables {
    lifecycle_days = { expire_uploads = -1 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_half_days" {
  command = plan

  variables {
    lifecycle_days = { expire_noncurrent = 7.5 }
  }

  expect_failures = [var.lifecycle_days]
}

run "refuses_all_headers" {
  command = plan

  variables {
    cors = { allowed_headers = ["*"] }
  }

  expect_failures = [var.cors]
}

run "refuses_an_hour_of_clock_skew" {
  command = plan

  variables {
    clock_skew_seconds = 3600
  }

  expect_failures = [var.clock_skew_seconds]
}

run "refuses_a_clock_ahead" {
  command = plan

  variables {
    clock_skew_seconds = -1
  }

  expect_failures = [var.clock_skew_seconds]
}

run "refuses_no_soft_delete" {
  command = plan

  variables {
    soft_delete_days = 0
  }

  expect_failures = [var.soft_delete_days]
}

run "refuses_six_days_of_soft_delete" {
  command = plan

  variables {
    soft_delete_days = 6
  }

  expect_failures = [var.soft_delete_days]
}

run "refuses_a_signer_that_deletes" {
  command = plan

  variables {
    signer = { allow = ["delete"] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_signer_that_lists" {
  command = plan

  variables {
    signer = { allow = ["list"] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_signer_that_may_nothing" {
  command = plan

  variables {
    signer = { allow = [] }
  }

  expect_failures = [var.signer]
}

run "refuses_a_signer_by_name" {
  command = plan

  variables {
    signer = { identity = { principal_id = "web" } }
  }

  expect_failures = [var.signer]
}

run "refuses_a_sweeper_that_signs" {
  command = plan

  variables {
    signer  = { identity = { principal_id = "11111111-1111-1111-1111-111111111111" } }
    sweeper = { identity = { principal_id = "11111111-1111-1111-1111-111111111111" } }
  }

  expect_failures = [var.sweeper]
}

run "refuses_a_key_with_a_version" {
  command = plan

  variables {
    customer_managed_key = { key_vault_key_id = "https://v.vault.azure.net/keys/k/0123", user_assigned_identity_id = "/i" }
  }

  expect_failures = [var.customer_managed_key]
}

run "refuses_a_network_action_that_is_none" {
  command = plan

  variables {
    network = { default_action = "Maybe" }
  }

  expect_failures = [var.network]
}

run "refuses_networks_that_mean_nothing" {
  command = plan

  variables {
    network = { ip_rules = ["203.0.113.9"] }
  }

  expect_failures = [var.network]
}

run "refuses_two_places_for_logs" {
  command = plan

  variables {
    diagnostics = { log_analytics_workspace_id = "/subscriptions/w", storage_account_id = "/subscriptions/s" }
  }

  expect_failures = [var.diagnostics]
}

run "refuses_no_place_for_logs" {
  command = plan

  variables {
    diagnostics = {}
  }

  expect_failures = [var.diagnostics]
}

run "refuses_a_queue_that_is_none" {
  command = plan

  variables {
    event_queue = { id = "created" }
  }

  expect_failures = [var.event_queue]
}

run "refuses_an_identity_for_the_key_that_is_none" {
  command = plan

  variables {
    customer_managed_key = { key_vault_key_id = "https://acme.vault.azure.net/keys/files", user_assigned_identity_id = "vault" }
  }

  expect_failures = [var.customer_managed_key]
}

run "refuses_a_host_for_an_address" {
  command = plan

  variables {
    network = { default_action = "Deny", ip_rules = ["office.example.com"] }
  }

  expect_failures = [var.network]
}

run "refuses_a_network_too_small_for_azure" {
  command = plan

  variables {
    network = { default_action = "Deny", ip_rules = ["203.0.113.8/31"] }
  }

  expect_failures = [var.network]
}

run "refuses_a_subnet_by_its_name" {
  command = plan

  variables {
    network = { default_action = "Deny", subnet_ids = ["default"] }
  }

  expect_failures = [var.network]
}

run "refuses_an_unknown_bypass" {
  command = plan

  variables {
    network = { bypass = ["Everybody"] }
  }

  expect_failures = [var.network]
}

run "refuses_logs_to_a_name" {
  command = plan

  variables {
    diagnostics = { log_analytics_workspace_id = "logs" }
  }

  expect_failures = [var.diagnostics]
}
