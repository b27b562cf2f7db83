"""What both sides agree on. Imports none of the other parts, opens no socket, holds no raw data."""
