output "storages" {
  description = "STORAGES of the service, by alias; the tasks have it already."
  value       = { private = module.files.settings }
}

output "load_balancer" {
  description = "Where host_name has to point."
  value       = aws_lb.web.dns_name
}

output "secrets" {
  description = "Secrets to put values in before the first task can start."
  value       = { for name, secret in aws_secretsmanager_secret.this : name => secret.name }
}

output "database_endpoint" {
  description = "Host and port of the database."
  value       = aws_db_instance.this.endpoint
}
