"""The connection to a service: from HOST to a logged-in session, and from a lost session to the next one.

    address.resolve("ann@web") -> Address           what HOST means, with config.toml
    dial.dial_tls(address) -> DialledSession        TCP, TLS 1.3, and the key checked before anything is sent
    login.log_in(dialled) -> LoginResult            hello, and a key if the service asks for one
    reconnecting.ReconnectingConnection(result, …)  replaces the session with a new one whenever it is lost

`deadline.connect_deadline` limits the time of all that until the login is done, and names the step that took too long.
`refusal` words the error for a login with no accepted key.

`session` is one connection: it drives the sans-I/O `farhand_protocol.connection.Connection`, routes each message and
chunk to the `ChannelEndpoint` of its channel, pings a silent service, and reports once why it ended. What must survive
a lost connection (the API's attachments) is registered with the reconnecting connection as `Resumable`: it is opened
again on each new session and continues at its own offsets. Nothing here knows about runs.
"""
