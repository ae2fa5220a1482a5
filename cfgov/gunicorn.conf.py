"""Settings of gunicorn, which reads this file when it starts in this folder or gets it by ``--config``.

A setting that the installed version does not know (control_socket_disable before gunicorn 25) is ignored by it.
"""

wsgi_app = "cfgov.wsgi:application"
worker_class = "gthread"
workers = 2
threads = 15
timeout = 60  # seconds without a sign of life from a worker
graceful_timeout = 30  # seconds for requests that run when the server is told to stop
accesslog = "-"
control_socket_disable = True  # its default place is the home folder, which service users need not have
