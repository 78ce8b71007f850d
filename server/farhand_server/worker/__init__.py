"""The user worker: a process that has become one user, and looks at that user's files for the core.

    Workers.ask(credentials, question) -> WorkerChannel -> socket -> worker process -> answer, with a descriptor

Whoever opens a path may have to wait for it: for a lease (fcntl(2)), a FUSE or NFS server, an automounter. The core may
not wait, because it belongs to everybody, so it opens no path that a user can influence. A worker does, with the user's
own rights. It may hang, and its user may stop or kill it at any moment; that costs this user alone: a question that is
not answered in time fails, and the worker is replaced.

`messages`   questions and answers, and their form on the socket between core and worker
`looking`    what a worker does: each function answers one kind of question
`keyfile`    one of these: reads a file that grants access
`serving`    the worker's threads, which read questions and send answers
`identity`   how a process becomes a user
`spawner`    the process that has loaded all of this, and forks a worker when the core asks for one
`channel`    the core's end of one worker: questions that wait for their answers
`workers`    all workers of the core: started on demand, replaced when they hang, ended when idle
`key_files`  reads files with keys before a login, a few at a time
`steady`     which paths the core may look at itself, because nobody else can change them and nothing there can hang

A worker imports nothing else of the service, and trusts the core; the core does not trust a worker, and believes of its
answers what it would believe the user.
"""
