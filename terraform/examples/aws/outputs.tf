# terraform output -json storages > storages.json, and GATEWAY_STORAGES_FILE=storages.json
output "storages" {
  description = "STORAGES of the service, by alias."
  value = merge(
    { (var.storage_alias) = module.files.settings },
    { for copy in module.copy : "${var.storage_alias}_copy" => copy.settings },
  )
}

output "event_queue_url" {
  description = "Queue that hears of every object created."
  value       = aws_sqs_queue.events.id
}
