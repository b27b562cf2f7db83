"""What passes between a data site and the coordinator, as protobuf messages."""
