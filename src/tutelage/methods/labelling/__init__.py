"""Systems whose teacher labels texts."""
