"""What maintains the repository; nothing that users import."""
