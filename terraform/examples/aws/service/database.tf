resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.private_subnet_ids
}

resource "aws_db_parameter_group" "this" {
  name   = var.name
  family = "postgres17"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
}

# Decisions and the audit are in here: kept, encrypted, in two zones, and restorable to any second of two weeks.
resource "aws_db_instance" "this" {
  identifier     = var.name
  engine         = "postgres"
  engine_version = "17"
  instance_class = var.database_class

  allocated_storage     = 20
  max_allocated_storage = 200
  storage_encrypted     = true
  multi_az              = true

  db_name  = "gateway"
  username = "administrator"
  # Made and rotated by RDS. The service has a user of its own, whose DATABASE_URL is a secret.
  manage_master_user_password = true

  db_subnet_group_name   = aws_db_subnet_group.this.name
  parameter_group_name   = aws_db_parameter_group.this.name
  vpc_security_group_ids = [aws_security_group.database.id]
  publicly_accessible    = false

  backup_retention_period    = 14
  copy_tags_to_snapshot      = true
  auto_minor_version_upgrade = true
  deletion_protection        = true
  final_snapshot_identifier  = "${var.name}-final"
}
