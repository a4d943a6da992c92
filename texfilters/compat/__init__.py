"""The library's filters under other libraries' signatures, so that one changed import line moves a user over."""
