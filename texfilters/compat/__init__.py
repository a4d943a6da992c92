"""The library's filters under other libraries' signatures and in their pipelines, for those who already use them."""
