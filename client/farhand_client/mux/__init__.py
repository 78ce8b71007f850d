"""How a command borrows a connection from the user's helper, which holds them ready (`farhand_client.helper`).

place.py says where the helper's sockets are, request.py which connection a command needs, ask.py asks for it and
offers one to keep, start.py starts the helper. Nothing here imports more than a command needs that is over in a few
milliseconds: no asyncio, no pydantic, no `re`, no `enum`.
"""
